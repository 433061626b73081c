// How threads share the tasks of one parallelFor. What differs between systems is in threads.cc and wasm.cc:
// starting threads, sleeping, and failing.
#pragma once
#include <stdint.h>

#include <atomic>

namespace bang {

/// Sleeps until `word` differs from `value` and wakeSleepers(word) is called; may return earlier.
void sleepWhile(const std::atomic<uint32_t>& word, uint32_t value);
void wakeSleepers(const std::atomic<uint32_t>& word);
/// Gives the core to another thread.
void yieldCore();
/// Tells the core that this thread is polling.
void relax();

/// Each thread has a share of the tasks, the same part of them every time, so that it works on what is in its
/// caches from the kernel before; then it helps others with theirs. Tasks are claimed by compare-and-swap on the
/// share's ticket, (epoch << 32 | next task). A worker that wakes late finds another epoch and claims nothing, so
/// no thread ever waits for a sleeping one.
class Tasks {
 public:
  using Task = void (*)(void* context, int i);

  /// Runs `call(task, context, i)` for all i < count on this thread and the workers; true when all are done and
  /// none has failed. `call` must not throw. `threads`: this one and the workers.
  template <class Call>
  bool run(int threads, uint32_t count, Task task, void* context, Call call) {
    const uint32_t some = threads < MOST_SHARES ? static_cast<uint32_t>(threads) : MOST_SHARES;
    shares_ = some < count ? some : count;
    task_ = task;
    context_ = context;
    done_ = 0;
    failed_ = false;
    drain(publish(count), 0, call);
    waitFor(count);
    return !failed_;
  }

  /// Claims and runs tasks until there are none and `stop` is called. `seen`: the epoch at the start of the
  /// thread.
  template <class Call>
  void work(uint32_t seen, Call call) {
    const uint32_t member = ++members_;
    for (;;) {
      for (int spin = 0; epoch() == seen; spin++) {
        if (spin < SPINS) relax();
        else if (spin < SPINS + YIELDS) yieldCore();
        else sleep(seen);
      }
      seen = epoch();
      if (stopping_) return;
      drain(seen, member, call);
    }
  }

  /// Counts a task of this epoch as done although it failed.
  void fail() {
    failed_ = true;
    done_.fetch_add(1, std::memory_order_release);
  }

  /// Ends a `run` one of whose tasks has thrown on its own thread: no more tasks are claimed, and none runs when
  /// this returns.
  void abandon() {
    uint32_t left = 0;
    for (Ticket& ticket : tickets_) left += static_cast<uint32_t>(ticket.value.exchange(0));
    waitFor(count_ - left - 1);
  }

  uint32_t epoch() const { return signal_.load(); }

  /// Makes all workers return from `work`. After `restart`, new ones stay.
  void stop() {
    stopping_ = true;
    publish(0);
  }
  void restart() {
    members_ = 0;
    stopping_ = false;
  }

 private:
  // How long an idle worker polls for new work before it sleeps. Kernels of one training step follow each
  // other within microseconds, those of a search within a millisecond; waking a thread takes more than a
  // tenth of that. So a worker spins for about 20 microseconds, then for about a millisecond polls and yields
  // the core.
  static constexpr int SPINS = 2000, YIELDS = 2000;

  static uint32_t epochOf(uint64_t ticket) { return static_cast<uint32_t>(ticket >> 32); }

  /// The first task of share i of `shares`, or the number of tasks after the last share.
  static uint32_t beginOf(uint32_t i, uint32_t shares, uint32_t count) {
    return static_cast<uint32_t>(uint64_t{count} * i / shares);
  }

  uint32_t publish(uint32_t count) {
    count_ = count;
    const uint32_t next = epoch() + 1, shares = shares_;
    for (uint32_t i = 0; i < shares; i++)
      tickets_[i].value.store(uint64_t{next} << 32 | (beginOf(i + 1, shares, count) - beginOf(i, shares, count)));
    signal_.store(next);
    if (sleepers_.load() > 0) wakeSleepers(signal_);
    return next;
  }

  template <class Call>
  void drain(uint32_t epoch, uint32_t member, Call call) {
    const Task task = task_.load();
    void* const context = context_.load();
    const uint32_t count = count_.load(), shares = shares_.load();
    for (uint32_t i = 0; i < shares; i++) {
      const uint32_t share = (member + i) % shares, end = beginOf(share + 1, shares, count);
      std::atomic<uint64_t>& shared = tickets_[share].value;
      uint64_t ticket = shared.load();
      while (epochOf(ticket) == epoch && static_cast<uint32_t>(ticket) > 0) {
        if (!shared.compare_exchange_weak(ticket, ticket - 1)) continue;
        if (!call(task, context, static_cast<int>(end - static_cast<uint32_t>(ticket)))) failed_ = true;
        done_.fetch_add(1, std::memory_order_release);
        ticket = shared.load();
      }
    }
  }

  void waitFor(uint32_t count) {
    for (int spin = 0; done_.load(std::memory_order_acquire) < count; spin++) {
      if (spin < SPINS) relax();
      else yieldCore();
    }
  }

  void sleep(uint32_t seen) {
    sleepers_++;
    if (signal_.load() == seen) sleepWhile(signal_, seen);
    sleepers_--;
  }

  /// In a cache line of its own.
  struct Ticket {
    std::atomic<uint64_t> value{0};
    char apart[56];
  };
  static constexpr int MOST_SHARES = 64;

  Ticket tickets_[MOST_SHARES];
  std::atomic<uint32_t> shares_{1};
  /// The workers that have begun.
  std::atomic<uint32_t> members_{0};
  /// The epoch, which changes when all tickets have it.
  std::atomic<uint32_t> signal_{0};
  std::atomic<uint32_t> done_{0}, count_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false}, failed_{false};
  std::atomic<Task> task_{nullptr};
  std::atomic<void*> context_{nullptr};
};

}  // namespace bang
