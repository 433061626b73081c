// The thread pool.
#pragma once

namespace bang {

constexpr int MOST_THREADS = 256;

/// Sets the number of threads, including the calling one (1 … MOST_THREADS). Not during parallelFor. Fails if
/// the system refuses a thread; then the calling thread computes alone.
void setThreads(int count);
int threads();

/// Runs task(context, i) for every i in [0, count), on all threads, and returns when all are done.
/// Which thread runs which i is unspecified. Each task must write only data that belongs to its i, so that
/// results do not depend on the number of threads. Not reentrant; must be called from one thread at a time.
/// Fails as a task fails, when no task is running.
void parallelFor(int count, void (*task)(void* context, int i), void* context);

/// Seconds of a clock that never goes back.
double now();

}  // namespace bang
