//! What the allocator holds and nobody uses goes back to the system.

// The exception to `unsafe_code = "deny"`: glibc's own call has no safe name.
#![cfg_attr(target_env = "gnu", allow(unsafe_code))]

/// Gives back free pages. Takes some milliseconds, in which a thread that allocates may wait.
///
/// glibc keeps what threads have freed for their next need. Events live in buffers that one
/// thread makes and another frees, at sizes that change with the load, so after a burst more
/// is kept than is ever used again.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes and gives no pointer; glibc documents it as safe to call from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
