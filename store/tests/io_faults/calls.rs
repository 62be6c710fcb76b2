//! The C library's file calls, defined anew for this test binary: each is logged and may be made to fail before it
//! reaches the kernel. Only calls on files below the directory under test count. The only file here with `unsafe`.

use crate::faults::{Answer, Kind, ask, cache, done, is_armed, is_cached, uncache};
use libc::{c_char, c_int, c_long, c_uint, c_void, mode_t, off64_t, size_t, ssize_t};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

fn path_of(fd: c_int) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default()
}

/// # Safety
/// `path` is a C string, as the callers of the C library's functions promise.
unsafe fn named<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: by this function's contract.
    Path::new(OsStr::from_bytes(
        unsafe { CStr::from_ptr(path) }.to_bytes(),
    ))
}

fn refuse(errno: c_int) -> c_long {
    // SAFETY: the location of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// Where a read or write begins; without a place of its own it goes on where the one before ended.
fn place(fd: c_int, at: Option<off64_t>) -> u64 {
    // SAFETY: takes its arguments by value.
    let at = at.unwrap_or_else(|| unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) });
    u64::try_from(at).unwrap_or(0)
}

/// Bytes that were read or written are in the page cache from then on: reading them again does not ask the disk.
fn transfer(
    kind: Kind,
    fd: c_int,
    at: Option<off64_t>,
    bytes: usize,
    real: impl FnOnce(usize) -> c_long,
) -> c_long {
    if !is_armed() {
        return real(bytes);
    }
    let (path, at) = (path_of(fd), place(fd, at));
    if kind == Kind::Read && is_cached(&path, at, bytes) {
        return real(bytes);
    }
    let result = call(kind, &path, bytes, real);
    if let Ok(moved @ 1..) = u64::try_from(result) {
        cache(&path, at, moved);
    }
    result
}

/// Asks what is to happen, does it, and notes how it went.
fn call(kind: Kind, path: &Path, bytes: usize, real: impl FnOnce(usize) -> c_long) -> c_long {
    match ask(kind, path) {
        Answer::Real => {
            let result = real(bytes);
            done(kind, path, result >= 0);
            result
        }
        Answer::Short => {
            let result = real(bytes.div_ceil(2));
            done(kind, path, result >= 0);
            result
        }
        Answer::Fail(errno) => {
            // A call that was interrupted may be made again.
            if errno != libc::EINTR {
                done(kind, path, false);
            }
            refuse(errno)
        }
        Answer::Swallow => {
            done(kind, path, false);
            0
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, bytes: size_t) -> ssize_t {
    // SAFETY: the caller's buffer is passed on, with its length or a shorter one.
    let real = |bytes: usize| unsafe { libc::syscall(libc::SYS_write, fd, buffer, bytes) };
    transfer(Kind::Write, fd, None, bytes, real) as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    buffer: *const c_void,
    bytes: size_t,
    at: off64_t,
) -> ssize_t {
    // SAFETY: the caller's buffer is passed on, with its length or a shorter one.
    let real = |bytes: usize| unsafe { libc::syscall(libc::SYS_pwrite64, fd, buffer, bytes, at) };
    transfer(Kind::Write, fd, Some(at), bytes, real) as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, bytes: size_t) -> ssize_t {
    // SAFETY: the caller's buffer is passed on, with its length or a shorter one.
    let real = |bytes: usize| unsafe { libc::syscall(libc::SYS_read, fd, buffer, bytes) };
    transfer(Kind::Read, fd, None, bytes, real) as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(
    fd: c_int,
    buffer: *mut c_void,
    bytes: size_t,
    at: off64_t,
) -> ssize_t {
    // SAFETY: the caller's buffer is passed on, with its length or a shorter one.
    let real = |bytes: usize| unsafe { libc::syscall(libc::SYS_pread64, fd, buffer, bytes, at) };
    transfer(Kind::Read, fd, Some(at), bytes, real) as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, bytes: off64_t) -> c_int {
    let real = |_| {
        // SAFETY: takes its arguments by value.
        unsafe { libc::syscall(libc::SYS_ftruncate, fd, bytes) }
    };
    call(Kind::Truncate, &path_of(fd), 0, real) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: takes its argument by value.
    call(Kind::Sync, &path_of(fd), 0, |_| unsafe {
        libc::syscall(libc::SYS_fsync, fd)
    }) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    let real = |_| {
        // SAFETY: takes its argument by value.
        unsafe { libc::syscall(libc::SYS_fdatasync, fd) }
    };
    call(Kind::DataSync, &path_of(fd), 0, real) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller's strings are passed on.
    let real =
        |_| unsafe { libc::syscall(libc::SYS_renameat, libc::AT_FDCWD, from, libc::AT_FDCWD, to) };
    // SAFETY: the caller gives C strings.
    call(Kind::Rename, unsafe { named(from) }, 0, real) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's string is passed on.
    let real = |_| unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) };
    // SAFETY: the caller gives a C string.
    call(Kind::Unlink, unsafe { named(path) }, 0, real) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller's string is passed on.
    let real = |_| unsafe { libc::syscall(libc::SYS_unlinkat, dir, path, flags) };
    // SAFETY: the caller gives a C string.
    let shown = path_of(dir).join(unsafe { named(path) });
    call(Kind::Unlink, &shown, 0, real) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's string is passed on.
    let real = |_| unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) };
    // SAFETY: the caller gives a C string.
    call(Kind::Mkdir, unsafe { named(path) }, 0, real) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the caller's string is passed on.
    let real = |_| unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) };
    // SAFETY: the caller gives a C string.
    let path = unsafe { named(path) };
    // As if the cache had been dropped since: who reads a file from its beginning reads it from the disk.
    if flags & libc::O_ACCMODE == libc::O_RDONLY {
        uncache(path);
    }
    call(Kind::Open, path, 0, real) as c_int
}
