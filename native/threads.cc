#include "threads.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
static inline void relax() { _mm_pause(); }
#else
static inline void relax() { std::this_thread::yield(); }
#endif

namespace bang {
namespace {

std::atomic<size_t> heldBytes{0};

struct Buffer {
  float* data = nullptr;
  size_t floats = 0;
  ~Buffer() { release(); }
  void release() {
    if (data) heldBytes -= floats * 4;
    free(data);
    data = nullptr;
    floats = 0;
  }
  float* atLeast(size_t wanted) {
#if defined(BANG_EXACT_SCRATCH)
    // For the sanitizers: always a new block of exactly this size, filled with NaN.
    release();
    void* block = nullptr;
    if (posix_memalign(&block, 64, wanted * 4 + 64) == 0) memset(block, 0xff, wanted * 4 + 64);
    data = static_cast<float*>(block);
#else
    if (wanted <= floats) return data;
    release();
    const size_t bytes = (wanted * 4 + 64 + 4095) / 4096 * 4096;
    data = static_cast<float*>(aligned_alloc(4096, bytes));
#endif
    if (!data) throw std::bad_alloc();
    floats = wanted;
    heldBytes += floats * 4;
    return data;
  }
};

thread_local Buffer scratchBuffers[SCRATCH_SLOTS];
Buffer sharedBuffers[SHARED_SLOTS];

// How long an idle worker polls for new work before it sleeps. Kernels of one training step follow each
// other within microseconds, those of a search within a millisecond; waking a thread takes more than a
// tenth of that. So a worker spins for about 20 microseconds, then for about a millisecond polls and yields
// the core.
constexpr int SPINS = 2000, YIELDS = 2000;

/// Tasks are claimed by compare-and-swap on one ticket, (epoch << 32 | next task). A worker that
/// wakes late finds another epoch and claims nothing, so no thread ever waits for a sleeping one.
class Pool {
 public:
  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void resize(int count) {
    stop();
    const uint32_t seen = epochOf(ticket_.load());
    try {
      for (int i = 1; i < count; i++) workers_.emplace_back([this, seen] { work(seen); });
    } catch (...) {
      stop();
      throw;
    }
  }

  void run(uint32_t count, void (*task)(void*, int), void* context) {
    if (workers_.empty() || count == 1) {
      for (uint32_t i = 0; i < count; i++) task(context, static_cast<int>(i));
      return;
    }
    // Close the ticket before the fields change, so that no late worker claims a task meanwhile.
    const uint64_t closed = (ticket_.load() & ~uint64_t{0xffffffff}) | 0xffffffff;
    ticket_.store(closed);
    task_ = task;
    context_ = context;
    done_ = 0;
    const uint32_t epoch = publish(count);
    drain(epoch);
    for (int spin = 0; done_.load(std::memory_order_acquire) < count; spin++) {
      if (spin < SPINS) relax();
      else std::this_thread::yield();
    }
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  static uint32_t epochOf(uint64_t ticket) { return static_cast<uint32_t>(ticket >> 32); }

  void stop() {
    stopping_ = true;
    publish(0);
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
  }

  uint32_t publish(uint32_t count) {
    count_ = count;
    const uint32_t epoch = epochOf(ticket_.load()) + 1;
    ticket_.store(uint64_t{epoch} << 32);
    if (sleepers_.load() > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    return epoch;
  }

  void drain(uint32_t epoch) {
    const auto task = task_.load();
    const auto context = context_.load();
    const uint32_t count = count_.load();
    uint64_t ticket = ticket_.load();
    while (epochOf(ticket) == epoch && static_cast<uint32_t>(ticket) < count) {
      if (!ticket_.compare_exchange_weak(ticket, ticket + 1)) continue;
      try {
        task(context, static_cast<int>(static_cast<uint32_t>(ticket)));
      } catch (...) {
        // `run` rethrows it when no task uses the context any more.
        std::lock_guard<std::mutex> lock(mutex_);
        failure_ = std::current_exception();
      }
      done_.fetch_add(1, std::memory_order_release);
      ticket = ticket_.load();
    }
  }

  void work(uint32_t seen) {
    for (;;) {
      for (int spin = 0; epochOf(ticket_.load(std::memory_order_acquire)) == seen; spin++) {
        if (spin < SPINS) {
          relax();
          continue;
        }
        if (spin < SPINS + YIELDS) {
          std::this_thread::yield();
          continue;
        }
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_++;
        wake_.wait(lock, [&] { return epochOf(ticket_.load()) != seen; });
        sleepers_--;
      }
      seen = epochOf(ticket_.load());
      if (stopping_) return;
      drain(seen);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::condition_variable wake_;
  std::atomic<uint64_t> ticket_{0};
  std::atomic<uint32_t> done_{0}, count_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<void (*)(void*, int)> task_{nullptr};
  std::atomic<void*> context_{nullptr};
};

Pool& pool() {
  // Never destroyed: at process exit the workers may still be asleep in it.
  static Pool* instance = new Pool;
  return *instance;
}

}  // namespace

void setThreads(int count) {
  if (count != pool().size()) pool().resize(count);
}
int threads() { return pool().size(); }

void parallelFor(int count, void (*task)(void*, int), void* context) {
  if (count > 0) pool().run(static_cast<uint32_t>(count), task, context);
}

float* scratch(int slot, size_t floats) { return scratchBuffers[slot].atLeast(floats); }
float* sharedScratch(int slot, size_t floats) { return sharedBuffers[slot].atLeast(floats); }
size_t scratchBytes() { return heldBytes.load(); }

}  // namespace bang
