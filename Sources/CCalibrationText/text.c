// The bytes of calibration.txt, in the program.

#include "include/CCalibrationText.h"

static const unsigned char text[] = {
#embed "calibration.txt"
};

const unsigned char *calibration_text_start(void) { return text; }

size_t calibration_text_size(void) { return sizeof text; }
