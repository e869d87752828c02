// The rows of a step: slot, position, and of a wanted row its number among all rows. All rows stand first,
// then, from max_rows on, the wanted ones.
layout(binding = 0) readonly buffer Rows { ivec4 step_rows[]; };
