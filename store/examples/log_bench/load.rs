//! The work that every contender does: 200-byte JSON readings as sensors send them, with numbers that vary.

use std::fs;

/// Bytes of one reading.
pub(crate) const READING_BYTES: usize = 200;

/// Reading `number`: exactly [`READING_BYTES`] of JSON.
pub(crate) fn reading(number: u64) -> [u8; READING_BYTES] {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let head = format!(
        r#"{{"device":"sensor-{:03}","boot":"{:08x}","sequence":{},"time":{},"temperature":{}.{:02},"humidity":{}.{},"pressure":{}.{:02},"battery":{}.{:02},"rssi":-{},"status":"ok","trace":""#,
        number % 100,
        (number % 100).wrapping_mul(2_654_435_761) & 0xffff_ffff,
        number / 100,
        1_764_000_000_000 + number * 7 + random(5),
        18 + random(9),
        random(100),
        40 + random(20),
        random(10),
        990 + random(40),
        random(100),
        3 + random(2),
        random(100),
        40 + random(50),
    );
    let mut bytes = [b'0'; READING_BYTES];
    let tail = READING_BYTES - 2;
    bytes[..head.len()].copy_from_slice(head.as_bytes());
    for byte in &mut bytes[head.len()..tail] {
        *byte = b"0123456789abcdef"[random(16) as usize];
    }
    bytes[tail..].copy_from_slice(b"\"}");
    bytes
}

/// Bytes this process caused to be written to devices, as the kernel counts them.
pub(crate) fn device_bytes() -> f64 {
    proc_number("/proc/self/io", "write_bytes:").unwrap_or(f64::NAN)
}

/// The memory this process has now.
#[allow(dead_code, reason = "not every program that shares this file asks")]
pub(crate) fn memory_kib() -> f64 {
    proc_number("/proc/self/status", "VmRSS:").unwrap_or(f64::NAN)
}

/// The most memory this process has had.
pub(crate) fn peak_memory_mib() -> f64 {
    proc_number("/proc/self/status", "VmHWM:").map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Mebibytes.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn proc_number(path: &str, name: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
