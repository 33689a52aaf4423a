// zlib, for gzip streams. Only Corpora/Streams imports this module.
#pragma once
#include <zlib.h>
