// The border of the functions about threads.
#include "border.h"
#include "threads.h"

namespace bang {
namespace border {

void setThreads(Arguments& in) {
  const int count = in.size("threads");
  if (count < 1 || count > MOST_THREADS)
    fail("threads must be from 1 to ", MOST_THREADS);
  bang::setThreads(count);
}

double peak(Arguments& in) {
  const float seconds = in.number("seconds");
  if (!(seconds > 0 && seconds <= 60)) fail("seconds must be more than 0 and at most 60");
  struct Peak {
    double seconds, each[MOST_THREADS];
  } result = {seconds, {}};
  const int count = threads();
  parallelFor(
      count,
      [](void* context, int i) {
        auto* peak = static_cast<Peak*>(context);
        peak->each[i] = kernels->peak(peak->seconds);
      },
      &result);
  double sum = 0;
  for (int i = 0; i < count; i++) sum += result.each[i];
  return sum;
}

}  // namespace border
}  // namespace bang
