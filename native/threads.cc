// The thread pool on the threads of the system.
#include "threads.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tasks.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bang {
namespace {

/// Where workers sleep. Never destroyed, as the pool: destroying waits for those that are still asleep.
struct Sleep {
  std::mutex mutex;
  std::condition_variable wake;
};
Sleep& sleeping() {
  static Sleep* instance = new Sleep;
  return *instance;
}

class Pool {
 public:
  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void resize(int count) {
    stop();
    const uint32_t seen = tasks_.epoch();
    try {
      for (int i = 1; i < count; i++)
        workers_.emplace_back(
            [this, seen] { tasks_.work(seen, [this](auto... task) { return call(task...); }); });
    } catch (...) {
      stop();
      throw;
    }
  }

  void run(int count, Tasks::Task task, void* context) {
    if (workers_.empty() || count == 1) {
      for (int i = 0; i < count; i++) task(context, i);
      return;
    }
    const auto each = [this](auto... one) { return call(one...); };
    if (!tasks_.run(size(), static_cast<uint32_t>(count), task, context, each))
      std::rethrow_exception(std::exchange(failure_, nullptr));
  }

 private:
  /// Keeps an exception until no task uses the context any more.
  bool call(Tasks::Task task, void* context, int i) {
    try {
      task(context, i);
      return true;
    } catch (...) {
      std::lock_guard<std::mutex> lock(failureMutex_);
      failure_ = std::current_exception();
      return false;
    }
  }

  void stop() {
    tasks_.stop();
    for (auto& worker : workers_) worker.join();
    workers_.clear();
    tasks_.restart();
  }

  Tasks tasks_;
  std::vector<std::thread> workers_;
  std::mutex failureMutex_;
  std::exception_ptr failure_;
};

Pool& pool() {
  // Never destroyed: at process exit the workers may still be asleep in it.
  static Pool* instance = new Pool;
  return *instance;
}

}  // namespace

void sleepWhile(const std::atomic<uint32_t>& word, uint32_t value) {
  std::unique_lock<std::mutex> lock(sleeping().mutex);
  sleeping().wake.wait(lock, [&] { return word.load() != value; });
}
void wakeSleepers(const std::atomic<uint32_t>&) {
  std::lock_guard<std::mutex> lock(sleeping().mutex);
  sleeping().wake.notify_all();
}
void yieldCore() { std::this_thread::yield(); }
void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  // The instruction `yield` does nothing on most processors, and `sched_yield` calls the system.
  __asm__ volatile("isb");
#else
  std::this_thread::yield();
#endif
}

void setThreads(int count) {
  if (count != pool().size()) pool().resize(count);
}
int threads() { return pool().size(); }

void parallelFor(int count, void (*task)(void*, int), void* context) {
  if (count > 0) pool().run(count, task, context);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace bang
