//! The write barrier sled lacks: on Linux its `flush()` calls `sync_file_range`, which orders nothing on the device
//! and forgets the device cache, so a power cut loses what was flushed. This file defines that symbol for the whole
//! binary and answers it with `fdatasync`, whose error sled then propagates. It also covers sled's own ordering
//! (segment reuse), which an `fdatasync` after `flush()` would not. This and `room_ahead.rs` are the only files with
//! `unsafe` in this crate.

pub(crate) mod room_ahead;

use std::sync::atomic::{AtomicU64, Ordering};

/// How often the barrier ran. The self-test watches it rise.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Replaces the C library's `sync_file_range` (see `man 2 sync_file_range`, "Warning"): makes the data of `fd` durable.
///
/// # Safety
/// Same contract as the C function: any `fd` is allowed, an invalid one gives -1 and `errno`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sync_file_range(
    fd: libc::c_int,
    offset: libc::off64_t,
    bytes: libc::off64_t,
    _flags: libc::c_uint,
) -> libc::c_int {
    CALLS.fetch_add(1, Ordering::Relaxed);
    room_ahead::written(fd, offset.saturating_add(bytes).max(0) as u64);
    // SAFETY: fdatasync takes any descriptor by value and touches no memory of ours.
    unsafe { libc::fdatasync(fd) }
}

/// True if who calls the C library's function gets the barrier. How this binary was linked decides it for sled as for this
/// call.
pub(crate) fn is_linked() -> bool {
    let before = calls();
    // SAFETY: an invalid descriptor is refused before anything is touched.
    let _ = unsafe { libc::sync_file_range(-1, 0, 0, 0) };
    calls() > before
}

/// Keeps the process small: without it the C library gives each of sled's I/O threads a heap of its own, and holds on to
/// the large buffers that sled frees, since it raises its thresholds by itself. Measured with a backlog of 200,000 records
/// filled and drained: 52 MiB at the peak with the first setting alone, 35 MiB with all three. Call it once, first thing
/// in `main`. Does nothing where the C library is not glibc.
pub fn limit_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt changes tuning values of the allocator and is documented for calls at the start of a program.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, HEAP_STEP_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, HEAP_STEP_BYTES);
    }
}

/// Larger buffers are mapped and given back one by one, and a heap's free end is given back beyond this.
#[cfg(target_env = "gnu")]
const HEAP_STEP_BYTES: libc::c_int = 128 << 10;

/// Number of write barriers this process has issued.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}
