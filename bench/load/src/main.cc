// Load generator for byte streams that echo. One line of JSON on stdout; status 1 on any error.
#include <unistd.h>

#include <memory>

#include "load.h"

int main(int argc, char** argv) {
  load::Options options;
  if (!load::ParseOptions(argc, argv, &options)) return 2;
  // A last guard: whatever happens, this process ends.
  alarm(static_cast<unsigned>(options.deadline_ms / 1000 + 10));
  const auto run = std::make_unique<load::Load>(options);
  const load::Report& report = run->Run();
  load::Print(options, report);
  return report.errors() == 0 ? 0 : 1;
}
