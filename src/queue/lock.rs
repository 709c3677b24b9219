//! Locks of values that are whole between statements.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. A panic while one of these is held is a bug that ends the thread that met it; the
/// value is whole all the same.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
