#pragma once
#include "Affinity.h"
#include "MatrixRegisters.h"
#include "Processor.h"
#include "Products.h"
#include "Rename.h"
#include "Spin.h"
#include "Vector.h"
