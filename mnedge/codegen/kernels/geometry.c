/* How a convolution looks at its input. */
struct geometry {
    int32_t input_columns, input_channels, kernel_rows, kernel_columns, stride, dilation, pad_left, pad_value;
    int32_t output_columns;
};
