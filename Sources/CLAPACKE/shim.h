// LAPACK through its C interface. Only Kernels/LinearAlgebra imports this module.
#pragma once
#include <lapacke.h>
