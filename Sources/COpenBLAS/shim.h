// OpenBLAS through its CBLAS interface. Only Kernels/Matmul imports this module.
#pragma once
#include <cblas.h>
