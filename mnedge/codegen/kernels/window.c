/* Points rows[i] at input row first + i * dilation, kept in a ring of `ring` rows; NULL outside the input. */
KERNEL void window(const int8_t **rows, const int8_t *base, int32_t first, int32_t count, int32_t dilation,
                   int32_t input_rows, int32_t row_bytes, int32_t ring)
{
    for (int32_t i = 0; i < count; i++) {
        const int32_t row = first + i * dilation;
        rows[i] = row >= 0 && row < input_rows ? base + row % ring * row_bytes : NULL;
    }
}

/* Whether a window that ends before row `end` of an input of `rows` rows is complete once `made` rows are there. */
INLINE int window_is_there(int32_t end, int32_t rows, int32_t made)
{
    return made >= (end < rows ? end : rows);
}
