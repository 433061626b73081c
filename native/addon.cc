// The addon: exports every kernel of kernels.def, and functions about levels, threads and memory.
#include <napi.h>

#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "border.h"
#include "levels.h"
#include "memory.h"

#if defined(_WIN32)
#define NOMINMAX
#include <windows.h>
#elif defined(__APPLE__)
#include <dlfcn.h>
#endif

const bang::Kernels* bang::kernels = nullptr;

void bang::refuse(const Text& message) {
  throw std::invalid_argument(std::string(message.data(), message.size()));
}
void bang::outOfMemory() { throw std::bad_alloc(); }

namespace {

using bang::Argument;
using bang::Arguments;
using bang::availableLevels;
using bang::Kernels;
using bang::kernels;

Argument::Kind kindOf(napi_typedarray_type type) {
  switch (type) {
    case napi_float32_array: return Argument::FLOATS;
    case napi_int32_array: return Argument::INTEGERS;
    case napi_uint32_array: return Argument::WORDS;
    case napi_uint8_array: return Argument::BYTES;
    default: return Argument::OTHER;
  }
}

/// Reads an argument without calling JavaScript, which could call this addon again.
void read(napi_env env, napi_value value, Argument& argument) {
  bool isArray = false;
  napi_is_typedarray(env, value, &isArray);
  if (isArray) {
    // Node leaves it as it is for a type that it has no name for, as version 24.0 for Float16Array.
    napi_typedarray_type type = napi_uint8_clamped_array;
    napi_value buffer;
    size_t offset;
    napi_get_typedarray_info(env, value, &type, &argument.length, &argument.data, &buffer, &offset);
    bool own = false;
    napi_is_arraybuffer(env, buffer, &own);
    argument.kind = kindOf(type);
    argument.shared = !own;
    argument.number = 1;
    return;
  }
  napi_valuetype type;
  napi_typeof(env, value, &type);
  argument.number = 1;
  bool flag;
  switch (type) {
    case napi_undefined:
    case napi_null:
      argument.kind = Argument::NONE;
      argument.number = 0;
      return;
    case napi_number:
      argument.kind = Argument::NUMBER;
      napi_get_value_double(env, value, &argument.number);
      return;
    case napi_boolean:
      argument.kind = Argument::FLAG;
      napi_get_value_bool(env, value, &flag);
      argument.number = flag;
      return;
    default: argument.kind = Argument::OTHER;
  }
}

/// Each of Node's threads has an environment of its own, but they share the thread pool and the level: one call
/// at a time.
std::mutex oneAtATime;

/// What `function` returns, with its exceptions as JavaScript's; others than Node's would end the process.
template <class Function>
Napi::Value guarded(const Napi::CallbackInfo& info, Function function) {
  std::lock_guard<std::mutex> lock(oneAtATime);
  try {
    return function();
  } catch (const std::invalid_argument& error) {
    throw Napi::TypeError::New(info.Env(), error.what());
  } catch (const std::bad_alloc&) {
    throw Napi::Error::New(info.Env(), "not enough memory");
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
}

/// A function of the border, which returns nothing or a number.
template <auto FUNCTION>
Napi::Value border(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const size_t count = info.Length();
    if (count > bang::MOST_ARGUMENTS) bang::fail("too many arguments");
    Argument given[bang::MOST_ARGUMENTS];
    for (size_t i = 0; i < count; i++) read(info.Env(), info[i], given[i]);
    Arguments in(given, static_cast<int>(count));
    if constexpr (std::is_void_v<decltype(FUNCTION(in))>) {
      FUNCTION(in);
      return info.Env().Undefined();
    } else {
      return Napi::Number::New(info.Env(), FUNCTION(in));
    }
  });
}

/// Bytes from the start of an ArrayBuffer to the first cache-line boundary in it.
Napi::Value alignment(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) bang::fail("alignment takes an ArrayBuffer");
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
Napi::Value setLevel(const Napi::CallbackInfo& info) {
  // Converting another type could call JavaScript, and that this addon again.
  if (!info[0].IsString()) bang::fail("the level must be a string");
  const std::string wanted = info[0].As<Napi::String>().Utf8Value();
  for (const Kernels* candidate : availableLevels()) {
    if (wanted != candidate->level) continue;
    kernels = candidate;
    return info.Env().Undefined();
  }
  bang::fail("this processor does not run the level ", wanted.c_str());
}

template <auto FUNCTION>
Napi::Value control(const Napi::CallbackInfo& info) {
  return guarded(info, [&] { return FUNCTION(info); });
}

/// Node unloads an addon with the last thread that uses it, but the thread pool lives on in its code. On Linux
/// the linker sees to it.
void stayLoaded() {
#if defined(_WIN32)
  HMODULE self;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                     reinterpret_cast<LPCSTR>(&stayLoaded), &self);
#elif defined(__APPLE__)
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&stayLoaded), &self))
    dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
#endif
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  {
    std::lock_guard<std::mutex> lock(oneAtATime);
    if (!kernels) kernels = availableLevels().front();
  }
  stayLoaded();
  const auto define = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
#define KERNEL(name, ...) define(#name, border<bang::border::name>);
#include "kernels.def"
  define("setThreads", border<bang::border::setThreads>);
  define("peak", border<bang::border::peak>);
  define("alignment", control<alignment>);
  define("scratchBytes", control<scratchBytes>);
  define("level", control<level>);
  define("levels", control<levels>);
  define("setLevel", control<setLevel>);
  return exports;
}

}  // namespace

NODE_API_MODULE(bang, init)
