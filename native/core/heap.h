// Owner: none.
// Lifetime: the setting holds until the process ends.
// Thread: any.
// Re-entrancy: may be called at any time and any number of times.
#pragma once

namespace uvio {

// Bulk data goes to chunks of 512 KiB that V8 frees by the dozen, at each collection. With glibc's
// defaults each of them is mapped, faulted in page by page and unmapped again, which is a seventh
// of the cost of a 64 KiB echo. Afterwards up to 64 MiB of what was freed stay with the process.
// Who has set MALLOC_TRIM_THRESHOLD_ or MALLOC_MMAP_THRESHOLD_ keeps what was set.
void KeepFreedChunks();

}  // namespace uvio
