// The border: for each kernel of kernels.def a function that checks every shape, length and number that
// JavaScript passes, then calls the kernel. The same for the functions about threads and memory.
#pragma once
#include "arguments.h"
#include "kernels.h"

namespace bang {

/// The level in use, which addon.cc or wasm.cc chooses.
extern const Kernels* kernels;

namespace border {

#define KERNEL(name, ...) void name(Arguments& in);
#include "kernels.def"

void setThreads(Arguments& in);

/// Multiply-adds per second of all threads together; each runs for `seconds`.
double peak(Arguments& in);

}  // namespace border
}  // namespace bang
