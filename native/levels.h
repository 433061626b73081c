// The instruction set levels of this processor.
#pragma once
#include <vector>

#include "kernels.h"

namespace bang {

/// The kernels of all levels that this processor can run, best first.
std::vector<const Kernels*> availableLevels();

}  // namespace bang
