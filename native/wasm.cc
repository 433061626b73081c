// The kernels as a WebAssembly module: what addon.cc and threads.cc are for Node-API and for the system's
// threads. Its other side is src/engine/wasm/. Its threads are Node's workers: each has an instance of the
// module, over one shared memory.
#include <stddef.h>

#include <type_traits>

#include "border.h"
#include "memory.h"
#include "tasks.h"
#include "threads.h"

#define IMPORT(name) __attribute__((import_module("bang"), import_name(name)))
#define EXPORT(name) extern "C" __attribute__((export_name(name)))

extern "C" {
// These throw in JavaScript, through the frames of the module, whose destructors do not run.
[[noreturn]] IMPORT("refuse") void importedRefuse(const char* message, size_t length);
[[noreturn]] IMPORT("outOfMemory") void importedOutOfMemory();
/// A task of another thread has ended in a trap.
[[noreturn]] IMPORT("trapped") void importedTrapped();
/// Starts a worker that calls `work(tasks, seen)` on this memory, with thread-local data at its beginning and
/// the stack at its end.
IMPORT("startWorker") void importedStartWorker(void* memory, size_t bytes, void* tasks, uint32_t seen);
IMPORT("now") double importedNow();

// Workers free what is theirs in `work`; destructors of thread-local data do not run.
int __cxa_thread_atexit(void (*)(void*), void*, void*) { return 0; }
}

const bang::Kernels* bang::kernels = bang::wasmKernels();

namespace bang {

void refuse(const Text& message) { importedRefuse(message.data(), message.size()); }
void outOfMemory() { importedOutOfMemory(); }
double now() { return importedNow(); }

void sleepWhile(const std::atomic<uint32_t>& word, uint32_t value) {
  __builtin_wasm_memory_atomic_wait32((int*)&word, (int)value, -1);
}
void wakeSleepers(const std::atomic<uint32_t>& word) {
  __builtin_wasm_memory_atomic_notify((int*)&word, 0xffffffffu);
}
// WebAssembly has no instruction for either.
void relax() {
  for (int i = 0; i < 16; i++) __asm__ volatile("");
}
void yieldCore() {
  for (int i = 0; i < 32; i++) relax();
}

namespace {

constexpr size_t WORKER_BYTES = 1 << 20;

/// Of the present workers. Earlier ones, which may still be about to start, end by their own.
Tasks* tasks = nullptr;
int workers = 0;
/// Whether this thread is in `tasks->run`.
bool running = false;
/// Whether a task has failed for another reason than a lack of memory.
std::atomic<bool> trapped{false};

bool call(Tasks::Task task, void* context, int i) {
  task(context, i);
  return true;
}

}  // namespace

void setThreads(int count) {
  if (count == threads()) return;
  if (tasks) tasks->stop();
  tasks = new Tasks;
  workers = 0;
  for (; workers < count - 1; workers++)
    importedStartWorker(allocate(WORKER_BYTES), WORKER_BYTES, tasks, tasks->epoch());
}
int threads() { return workers + 1; }

void parallelFor(int count, void (*task)(void*, int), void* context) {
  if (workers == 0 || count <= 1) {
    for (int i = 0; i < count; i++) task(context, i);
    return;
  }
  running = true;
  const bool done = tasks->run(threads(), static_cast<uint32_t>(count), task, context, call);
  running = false;
  if (done) return;
  if (trapped.exchange(false)) importedTrapped();
  outOfMemory();
}

namespace {

Argument given[MOST_ARGUMENTS];

struct Function {
  const char* name;
  double (*call)(Arguments& in);
};

template <auto FUNCTION>
double numberOf(Arguments& in) {
  if constexpr (std::is_void_v<decltype(FUNCTION(in))>) return FUNCTION(in), 0;
  else return FUNCTION(in);
}

const Function FUNCTIONS[] = {
#define KERNEL(name, ...) {#name, numberOf<border::name>},
#include "kernels.def"
    {"setThreads", numberOf<border::setThreads>},
    {"peak", numberOf<border::peak>},
};

}  // namespace

/// The names of the functions, the kernels first; null after the last.
EXPORT("functionName") const char* functionName(size_t i) {
  return i < sizeof FUNCTIONS / sizeof *FUNCTIONS ? FUNCTIONS[i].name : nullptr;
}

/// Where a call's arguments are written.
EXPORT("arguments") Argument* arguments() { return given; }
EXPORT("mostArguments") int mostArguments() { return MOST_ARGUMENTS; }

static_assert(sizeof(Argument) == 24 && offsetof(Argument, kind) == 0 && offsetof(Argument, shared) == 4 &&
                  offsetof(Argument, written) == 5 && offsetof(Argument, number) == 8 &&
                  offsetof(Argument, data) == 16 && offsetof(Argument, length) == 20,
              "src/engine/wasm/ writes and reads these fields");

EXPORT("call") double callFunction(size_t i, int count) {
  Arguments in(given, count);
  return FUNCTIONS[i].call(in);
}

/// Ends a call that has thrown: no other thread works on it when this returns.
EXPORT("abandon") void abandonCall() {
  if (running) tasks->abandon();
  running = false;
  trapped = false;
}

EXPORT("allocate") void* allocateBytes(size_t bytes) { return allocate(bytes); }
EXPORT("release") void releaseBytes(void* memory) { release(memory); }
EXPORT("scratchBytes") size_t scratchByteCount() { return scratchBytes(); }

/// The life of a worker.
EXPORT("work") void work(Tasks* of, uint32_t seen) {
  of->work(seen, call);
  releaseScratch();
}

/// Goes on after a task of this worker has thrown.
EXPORT("workOn") void workOn(Tasks* of, bool lackedMemory) {
  if (!lackedMemory) trapped = true;
  of->fail();
  work(of, of->epoch() - 1);
}

}  // namespace bang
