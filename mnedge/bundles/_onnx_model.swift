import Foundation
import OnnxRuntimeBindings

/// @SLUG@ on ONNX Runtime, from the path of its .onnx or .ort: 8-bit @ORDER@ in, real values out.
public final class OnnxModel {
    private let environment: ORTEnv
    private let session: ORTSession
    private let input: String
    private let outputs: Set<String>
    private let scale: [Float] = [@SCALE_SWIFT@]
    private let offset: [Float] = [@OFFSET_SWIFT@]

    public init(path: String) throws {
        // Since 1.29 ONNX Runtime reports models to its maker unless it is told not to, before its environment is made.
        setenv("ORT_DISABLE_TELEMETRY", "1", 1)
        environment = try ORTEnv(loggingLevel: .warning)
        session = try ORTSession(env: environment, modelPath: path, sessionOptions: nil)
        input = try session.inputNames()[0]
        outputs = Set(try session.outputNames())
    }

    /// Takes a picture of @WIDTH@ x @HEIGHT@ pixels, row by row, and gives the values of each output by its name.
    public func run(_ picture: [UInt8]) throws -> [String: [Float]] {
        precondition(picture.count == @WIDTH@ * @HEIGHT@ * @CHANNELS@, "a picture has @WIDTH@ x @HEIGHT@ x @CHANNELS@ bytes")
        let pixels = @WIDTH@ * @HEIGHT@
        var values = [Float](repeating: 0, count: picture.count)
        for at in picture.indices {
            let channel = at % @CHANNELS@
            let place = @IS_PLANAR@ ? channel * pixels + at / @CHANNELS@ : at
            values[place] = scale[channel] * Float(picture[at]) + offset[channel]
        }
        let bytes = NSMutableData(bytes: values, length: values.count * MemoryLayout<Float>.size)
        let tensor = try ORTValue(tensorData: bytes, elementType: .float, shape: [@SHAPE@])
        let found = try session.run(withInputs: [input: tensor], outputNames: outputs, runOptions: nil)
        return try found.mapValues { value in
            let data = try value.tensorData() as Data
            return data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        }
    }
}
