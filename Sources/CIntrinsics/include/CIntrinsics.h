#pragma once
#include "Affinity.h"
#include "Spin.h"
#include "Vector.h"
