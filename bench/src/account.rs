//! What the kernel charged: CPU time by thread, resident memory.

use std::fs;

/// The threads of this process that are workers of a forwarder, by number.
pub fn workers() -> Vec<u32> {
    let mut found: Vec<(String, u32)> = fs::read_dir("/proc/self/task")
        .expect("Linux has /proc")
        .filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
            name.starts_with("rtpcore-").then_some((name, id))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, id)| id).collect()
}

/// Nanoseconds that a thread of this process has run on a CPU, in user space and in the kernel.
pub fn cpu_ns(thread: u32) -> u64 {
    // How Linux names the CPU clock of a thread: its number inverted, and "scheduler's time, one thread" in the low bits.
    let clock = (!thread.cast_signed() << 3) | 6;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives over the call.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(failed, 0, "the thread is gone");
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// The calling thread's number.
pub fn this_thread() -> u32 {
    // SAFETY: gettid takes nothing and cannot fail.
    unsafe { libc::gettid() }.cast_unsigned()
}

/// Resident memory of this process in KiB.
pub fn resident_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Asks for the processor before everybody else, for this thread and those it starts; says whether it was granted.
///
/// Then other work on the machine adds no waiting to measured delays. It takes a privilege, and is not needed on a quiet one.
pub fn go_first() -> bool {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameters live over the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0 }
}
