/* One gate: its input's and the hidden state's weights, each with its bias and its rescale to Q3.12. */
struct lstm_gate {
    const int8_t *input_weights, *hidden_weights;
    const int32_t *input_bias, *hidden_bias; /* with -zero_point * sum(weights) */
    int32_t input_multiplier, input_shift, hidden_multiplier, hidden_shift;
};

struct lstm {
    struct lstm_gate input, forget, cell, output;
    int32_t steps, inputs, cells;
    int32_t cell_shift, cell_clip; /* a cell's step is 2^cell_shift; a clip of 0 is none */
    int32_t hidden_multiplier, hidden_shift, hidden_zero_point;
};

/* What a gate sees at a cell, in Q3.12. */
INLINE int32_t lstm_sum(const struct lstm *layer, const struct lstm_gate *gate, const int8_t *input, const int8_t *hidden,
                        int32_t cell)
{
    const int8_t *weights = gate->input_weights + cell * layer->inputs;
    int32_t sum = gate->input_bias[cell];
    for (int32_t i = 0; i < layer->inputs; i++) {
        sum += input[i] * weights[i];
    }
    const int32_t seen = saturate_16(requantize(sum, gate->input_multiplier, gate->input_shift));
    weights = gate->hidden_weights + cell * layer->cells;
    sum = gate->hidden_bias[cell];
    for (int32_t i = 0; i < layer->cells; i++) {
        sum += hidden[i] * weights[i];
    }
    return saturate_16(requantize(sum, gate->hidden_multiplier, gate->hidden_shift) + seen);
}

/* A long short-term memory over a sequence; hidden and cells are kept from call to call. The output of a step is the hidden
 * state behind it, so that a step reads the one before. */
KERNEL void lstm(const struct lstm *layer, const int8_t *input, int8_t *hidden, int8_t *kept, int8_t *output)
{
    int16_t *const cells = (int16_t *)(void *)kept;
    const int8_t *before = hidden;
    for (int32_t step = 0; step < layer->steps; step++, input += layer->inputs, before = output, output += layer->cells) {
        for (int32_t cell = 0; cell < layer->cells; cell++) {
            const int32_t forget = logistic_q15(lstm_sum(layer, &layer->forget, input, before, cell));
            const int32_t candidate = tangent_q15(lstm_sum(layer, &layer->cell, input, before, cell), 3);
            const int32_t taken = logistic_q15(lstm_sum(layer, &layer->input, input, before, cell));
            const int32_t old = rounded_right(forget * cells[cell], 15);
            int32_t value = saturate_16(old + rounded_right(taken * candidate, 30 + layer->cell_shift));
            if (layer->cell_clip > 0) {
                value = value > layer->cell_clip ? layer->cell_clip : value < -layer->cell_clip ? -layer->cell_clip : value;
            }
            cells[cell] = (int16_t)value;
            const int32_t shown = logistic_q15(lstm_sum(layer, &layer->output, input, before, cell));
            const int32_t product = shown * tangent_q15(value, 15 + layer->cell_shift);
            const int32_t scaled = requantize(product, layer->hidden_multiplier, layer->hidden_shift);
            output[cell] = clamp_int8(scaled + layer->hidden_zero_point, -128, 127);
        }
    }
    for (int32_t cell = 0; cell < layer->cells; cell++) {
        hidden[cell] = before[cell];
    }
}
