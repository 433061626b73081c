// The border: for each kernel of kernels.def a function that checks every shape, length and number that
// JavaScript passes, then calls the kernel.
#pragma once
#include <napi.h>

#include "arguments.h"
#include "kernels.h"

namespace bang {

/// The level in use, which addon.cc chooses.
extern const Kernels* kernels;

namespace border {

#define KERNEL(name, ...) void name(const Napi::CallbackInfo& info);
#include "kernels.def"

}  // namespace border
}  // namespace bang
