// The thread pool and the memory that threads work in.
#pragma once
#include <stddef.h>

namespace bang {

/// Sets how many threads compute, the calling one included (1 … 256). Not during parallelFor. Throws
/// std::system_error where the system refuses one; then the calling thread computes alone.
void setThreads(int count);
int threads();

/// Runs task(context, i) for every i in [0, count), on all threads, and returns when all are done.
/// Which thread does which i is open, so a task must write only what belongs to its i: then no
/// result depends on the number of threads. Not reentrant; called from one thread only. Throws what a
/// task throws, when no task runs any more.
void parallelFor(int count, void (*task)(void* context, int i), void* context);

/// Memory of the calling thread, aligned to 64 bytes, uninitialised, valid until its next call with
/// the same slot. It grows and is kept: a training step allocates nothing in the steady state.
/// Returns at least `floats` floats and 64 bytes of slack behind them that may be read; throws
/// std::bad_alloc where there is no memory.
constexpr int SCRATCH_SLOTS = 4;
float* scratch(int slot, size_t floats);

/// Memory shared by the tasks of one parallelFor, under the same terms; for the calling thread.
constexpr int SHARED_SLOTS = 5;
float* sharedScratch(int slot, size_t floats);

/// Bytes held by all scratch memory.
size_t scratchBytes();

}  // namespace bang
