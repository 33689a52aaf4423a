// PCRE2 on UTF-8 code units: the regular expressions of pre-tokenisers.
#pragma once
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
