// The text with which models are calibrated unless a user names one, within the program. README.md tells where its
// passages are from.
#ifndef C_CALIBRATION_TEXT_H
#define C_CALIBRATION_TEXT_H

#include <stddef.h>

// UTF-8, without a zero behind it.
const unsigned char *calibration_text_start(void);

size_t calibration_text_size(void);

#endif
