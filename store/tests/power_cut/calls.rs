//! The C library's file calls, defined anew for this test binary: what succeeds below the recorded directory is logged
//! in the order in which it happened. The only file here with `unsafe`. The barrier of the store calls `fdatasync`, so
//! that it is seen here; `sync_file_range` itself is worth nothing and not logged. The ballast is made by a direct system
//! call and stays unseen: the stores under test have none.

use crate::disk::Op;
use crate::recorder::{is_recorded, record};
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

/// # Safety
/// `buffer` holds `bytes` bytes, as the callers of the C library's functions promise.
unsafe fn written(buffer: *const c_void, bytes: size_t) -> Vec<u8> {
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), bytes) }.to_vec()
}

fn write_at(
    fd: c_int,
    at: Option<off64_t>,
    bytes: impl FnOnce() -> Vec<u8>,
    real: impl FnOnce() -> c_long,
) -> ssize_t {
    let path = path_of(fd);
    if !is_recorded(&path) {
        return real() as ssize_t;
    }
    record(|log| {
        // SAFETY: takes its arguments by value.
        let at = at.unwrap_or_else(|| unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) });
        let moved = real();
        if let (Ok(moved), Ok(at)) = (usize::try_from(moved), u64::try_from(at)) {
            let mut bytes = bytes();
            bytes.truncate(moved);
            log.push(Op::Write(path, at, bytes));
        }
        moved
    }) as ssize_t
}

fn call(path: &Path, op: impl FnOnce() -> Op, real: impl FnOnce() -> c_long) -> c_int {
    if !is_recorded(path) {
        return real() as c_int;
    }
    record(|log| {
        let result = real();
        if result >= 0 {
            log.push(op());
        }
        result
    }) as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, bytes: size_t) -> ssize_t {
    // SAFETY: the caller's buffer is read and passed on.
    write_at(
        fd,
        None,
        || unsafe { written(buffer, bytes) },
        || unsafe { libc::syscall(libc::SYS_write, fd, buffer, bytes) },
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    fd: c_int,
    buffer: *const c_void,
    bytes: size_t,
    at: off64_t,
) -> ssize_t {
    // SAFETY: the caller's buffer is read and passed on.
    write_at(
        fd,
        Some(at),
        || unsafe { written(buffer, bytes) },
        || unsafe { libc::syscall(libc::SYS_pwrite64, fd, buffer, bytes, at) },
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, bytes: off64_t) -> c_int {
    let path = path_of(fd);
    let op = || Op::Truncate(path.clone(), u64::try_from(bytes).unwrap_or(0));
    // SAFETY: takes its arguments by value.
    call(&path, op, || unsafe {
        libc::syscall(libc::SYS_ftruncate, fd, bytes)
    })
}

/// Room ahead: the file gets longer, and holds zeros there.
#[unsafe(no_mangle)]
unsafe extern "C" fn fallocate64(fd: c_int, mode: c_int, at: off64_t, bytes: off64_t) -> c_int {
    let path = path_of(fd);
    let length = || std::fs::metadata(&path).map_or(0, |found| found.len());
    let op = || Op::Truncate(path.clone(), length());
    // SAFETY: takes its arguments by value.
    call(&path, op, || unsafe {
        libc::syscall(libc::SYS_fallocate, fd, mode, at, bytes)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    let path = path_of(fd);
    let op = || Op::Sync(path.clone());
    // SAFETY: takes its argument by value.
    call(&path, op, || unsafe { libc::syscall(libc::SYS_fsync, fd) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    let path = path_of(fd);
    let op = || Op::DataSync(path.clone());
    // SAFETY: takes its argument by value.
    call(&path, op, || unsafe {
        libc::syscall(libc::SYS_fdatasync, fd)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller gives C strings.
    let (old, new) = unsafe { (named(from), named(to)) };
    let op = || Op::Rename(old.into(), new.into());
    // SAFETY: the caller's strings are passed on.
    call(old, op, || unsafe {
        libc::syscall(libc::SYS_renameat, libc::AT_FDCWD, from, libc::AT_FDCWD, to)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller gives a C string.
    let name = unsafe { named(path) };
    // SAFETY: the caller's string is passed on.
    call(
        name,
        || Op::Remove(name.into()),
        || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) },
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller gives a C string.
    let name = unsafe { named(path) };
    let name = match dir {
        libc::AT_FDCWD => name.to_path_buf(),
        _ => path_of(dir).join(name),
    };
    // SAFETY: the caller's string is passed on.
    call(
        &name,
        || Op::Remove(name.clone()),
        || unsafe { libc::syscall(libc::SYS_unlinkat, dir, path, flags) },
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: the caller gives a C string.
    let name = unsafe { named(path) };
    // SAFETY: the caller's string is passed on.
    call(
        name,
        || Op::Remove(name.into()),
        || unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, libc::AT_REMOVEDIR) },
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller gives a C string.
    let name = unsafe { named(path) };
    // SAFETY: the caller's string is passed on.
    call(
        name,
        || Op::MakeDir(name.into()),
        || unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) },
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the caller gives a C string.
    let name = unsafe { named(path) };
    let fresh = flags & libc::O_CREAT != 0 && !name.exists();
    let emptied = flags & libc::O_TRUNC != 0;
    // SAFETY: the caller's string is passed on.
    let real = || unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) };
    match (fresh, emptied) {
        (true, _) => call(name, || Op::Create(name.into()), real),
        (false, true) => call(name, || Op::Truncate(name.into(), 0), real),
        (false, false) => real() as c_int,
    }
}
