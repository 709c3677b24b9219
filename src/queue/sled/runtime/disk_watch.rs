//! Whether the disk lets events in, and whether the queue's files are where they were.

use crate::queue::contract::Disk;
use crate::queue::lock::lock;
use crate::queue::sled::disk::{DEAD, GENERATIONS, StoreError, disk_usage};
use crate::queue::sled::runtime::shared::{Pressure, Shared};

/// Looks at the disk: whether the queue's files are where they were, and whether events may come
/// in.
pub fn look(shared: &Shared) -> Result<(), StoreError> {
    if shared.stopped.get().is_some() || !shared.is_in_place()? {
        return Ok(());
    }
    let disk = measure(shared)?;
    *lock(&shared.disk) = disk;
    let pressure = pressure(&disk);
    shared.pressure.send_if_modified(|current| {
        let kind = std::mem::discriminant(current) != std::mem::discriminant(&pressure);
        if kind {
            match &pressure {
                Pressure::None => match current {
                    Pressure::Quota => tracing::info!("the queue has room again: accepting"),
                    _ => tracing::info!("the disk has room again: accepting"),
                },
                Pressure::Quota => tracing::warn!(
                    "the queue reached queue.max_bytes: reading stops until deliveries free \
                     it; raise the quota or see why delivery is slow"
                ),
                Pressure::Reserve(why) => tracing::warn!("not accepting: {why}"),
            }
            *current = pressure;
        }
        kind
    });
    Ok(())
}

fn measure(shared: &Shared) -> Result<Disk, StoreError> {
    let options = &shared.options;
    // Where the system does not say, nothing is held against events.
    let room = Disk::of(&options.path, options.min_free).unwrap_or_default();
    Ok(Disk {
        used: disk_usage(&options.path.join(GENERATIONS))?,
        quota: options.max_bytes,
        dead_used: disk_usage(&options.path.join(DEAD))?,
        dead_quota: options.dead_max_bytes,
        ..room
    })
}

fn pressure(disk: &Disk) -> Pressure {
    // First: with bytes left, nobody would think of it.
    if disk.lacks_files() {
        return Pressure::Reserve(format!(
            "the file system of queue.path is nearly out of inodes: {} free where {} are kept; \
             send again later, after files were deleted there (`df -i` shows them)",
            disk.files_free, disk.files_reserve
        ));
    }
    if disk.free < disk.reserve {
        return Pressure::Reserve(format!(
            "the disk is nearly full: {} MiB free where queue.min_free keeps {} MiB; send \
             again later, after space was freed",
            disk.free >> 20,
            disk.reserve >> 20
        ));
    }
    if disk.used >= disk.quota {
        return Pressure::Quota;
    }
    Pressure::None
}
