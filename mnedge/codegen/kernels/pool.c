struct pool {
    int32_t input_columns, output_columns, channels, kernel_rows, kernel_columns, stride, pad_left, low, high;
    int32_t offset;   /* added to steps before they are averaged */
    int32_t pad_step; /* the step of what lies outside, for a maximum; below all steps where that does not count */
};
