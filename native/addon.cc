// The addon: exports every kernel of kernels.def, and functions about levels, threads and memory.
#include <napi.h>

#include <exception>
#include <mutex>
#include <new>
#include <string>

#include "border.h"
#include "levels.h"
#include "threads.h"

const bang::Kernels* bang::kernels = nullptr;

namespace {

using bang::Arguments;
using bang::availableLevels;
using bang::Kernels;
using bang::kernels;

void setThreads(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const int count = in.size("threads");
  if (count < 1 || count > 256) in.fail("threads must be from 1 to 256");
  bang::setThreads(count);
}

/// Multiply-adds per second of all threads together; each runs for `seconds`.
Napi::Value peak(const Napi::CallbackInfo& info) {
  Arguments in(info);
  const float seconds = in.number("seconds");
  if (!(seconds > 0 && seconds <= 60)) in.fail("seconds must be more than 0 and at most 60");
  struct Peak {
    double seconds, each[256];
  } result = {seconds, {}};
  const int count = bang::threads();
  bang::parallelFor(
      count,
      [](void* context, int i) {
        auto* peak = static_cast<Peak*>(context);
        peak->each[i] = kernels->peak(peak->seconds);
      },
      &result);
  double sum = 0;
  for (int i = 0; i < count; i++) sum += result.each[i];
  return Napi::Number::New(info.Env(), sum);
}

/// Bytes from the start of an ArrayBuffer to the first cache-line boundary in it.
Napi::Value alignment(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) Arguments(info).fail("alignment takes an ArrayBuffer");
  const auto address = reinterpret_cast<uintptr_t>(info[0].As<Napi::ArrayBuffer>().Data());
  return Napi::Number::New(info.Env(), static_cast<double>((64 - address % 64) % 64));
}

Napi::Value scratchBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(bang::scratchBytes()));
}

Napi::Value level(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), kernels->level);
}

Napi::Value levels(const Napi::CallbackInfo& info) {
  const auto available = availableLevels();
  auto names = Napi::Array::New(info.Env(), available.size());
  for (uint32_t i = 0; i < available.size(); i++)
    names[i] = Napi::String::New(info.Env(), available[i]->level);
  return names;
}

/// Selects a level by name, so that tests can run one below the best.
void setLevel(const Napi::CallbackInfo& info) {
  // Converting another type could call JavaScript, and that this addon again.
  if (!info[0].IsString()) Arguments(info).fail("the level must be a string");
  const std::string wanted = info[0].As<Napi::String>().Utf8Value();
  for (const Kernels* candidate : availableLevels()) {
    if (wanted != candidate->level) continue;
    kernels = candidate;
    return;
  }
  Arguments(info).fail("this processor does not run the level " + wanted);
}

/// The names of all kernels, from which the tests know whether each is tested.
Napi::Value kernelNames(const Napi::CallbackInfo& info) {
  auto names = Napi::Array::New(info.Env());
#define KERNEL(name, ...) names[names.Length()] = Napi::String::New(info.Env(), #name);
#include "kernels.def"
  return names;
}

/// Each of Node's threads has an environment of its own, but they share the thread pool and the level: one call
/// at a time.
std::mutex oneAtATime;

Napi::Object init(Napi::Env env, Napi::Object exports) {
  {
    std::lock_guard<std::mutex> lock(oneAtATime);
    if (!kernels) kernels = availableLevels().front();
  }
  const auto define = [&](const char* name, auto function) {
    // Other exceptions than Node's, such as for lack of memory or threads, would end the process.
    const auto guarded = [function](const Napi::CallbackInfo& info) {
      std::lock_guard<std::mutex> lock(oneAtATime);
      try {
        return function(info);
      } catch (const Napi::Error&) {
        throw;
      } catch (const std::bad_alloc&) {
        throw Napi::Error::New(info.Env(), "not enough memory");
      } catch (const std::exception& error) {
        throw Napi::Error::New(info.Env(), error.what());
      }
    };
    exports.Set(name, Napi::Function::New(env, guarded, name));
  };
#define KERNEL(name, ...) define(#name, bang::border::name);
#include "kernels.def"
  define("kernelNames", kernelNames);
  define("setThreads", setThreads);
  define("peak", peak);
  define("alignment", alignment);
  define("scratchBytes", scratchBytes);
  define("level", level);
  define("levels", levels);
  define("setLevel", setLevel);
  return exports;
}

}  // namespace

NODE_API_MODULE(bang, init)
