// The thread pool and the memory that threads work in.
#pragma once
#include <stddef.h>

namespace bang {

/// Sets the number of threads, including the calling one (1 … 256). Not during parallelFor. Throws
/// std::system_error if the system refuses a thread; then the calling thread computes alone.
void setThreads(int count);
int threads();

/// Runs task(context, i) for every i in [0, count), on all threads, and returns when all are done.
/// Which thread runs which i is unspecified. Each task must write only data that belongs to its i, so that
/// results do not depend on the number of threads. Not reentrant; must be called from one thread at a time.
/// Rethrows an exception of a task when no task is running.
void parallelFor(int count, void (*task)(void* context, int i), void* context);

/// Memory of the calling thread, aligned to 64 bytes, uninitialised, valid until its next call with
/// the same slot. It is kept and grows as needed, so that in the steady state nothing is allocated.
/// Returns at least `floats` floats, followed by 64 bytes that may be read; throws std::bad_alloc if
/// there is not enough memory.
constexpr int SCRATCH_SLOTS = 4;
float* scratch(int slot, size_t floats);

/// Memory shared by the tasks of one parallelFor, with the same guarantees. May only be called by the thread
/// that calls parallelFor.
constexpr int SHARED_SLOTS = 5;
float* sharedScratch(int slot, size_t floats);

/// Bytes held by all scratch memory.
size_t scratchBytes();

}  // namespace bang
