//! The deliverer's round: what is asked of it, one operation at a time, and what is due meanwhile.

use std::time::Duration;

use tokio::time::interval;

use super::deliverer::Deliverer;
use super::turn_ops::TurnOp;
use super::upkeep;

impl Deliverer {
    /// Runs until the queue is closed.
    pub async fn run(mut self) {
        let lease = self.shared.options.place.lease;
        let mut renewal = interval(lease / 3);
        let mut due = interval(upkeep::EVERY);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let op = match self.next.take() {
                Some(op) => op,
                None => {
                    let waits = !self.wanted.is_empty();
                    tokio::select! {
                        biased;
                        op = self.ops.recv() => match op {
                            Some(op) => op,
                            None => return,
                        },
                        _ = renewal.tick(), if self.lease.is_some() => {
                            self.renew().await;
                            continue;
                        }
                        _ = due.tick() => {
                            self.look_after().await;
                            continue;
                        }
                        // Somebody else has it: it is looked again soon.
                        () = tokio::time::sleep(Duration::from_millis(200)), if waits => {
                            self.give().await;
                            continue;
                        }
                    }
                }
            };
            match op {
                TurnOp::Take(reply) => {
                    self.wanted.push(reply);
                    self.give().await;
                }
                TurnOp::End(number) => self.end(number).await,
                TurnOp::Look => self.renew().await,
                #[cfg(test)]
                TurnOp::Tick(reply) => {
                    self.look_after().await;
                    let _ = reply.send(());
                }
                #[cfg(test)]
                TurnOp::Behind(reply) => drop(reply.send(())),
                TurnOp::Close(reply) => {
                    self.close().await;
                    let _ = reply.send(());
                    return;
                }
                TurnOp::Forget(..) | TurnOp::KeepDead(_) => self.errand(op).await,
                op => self.wave(op).await,
            }
        }
    }
}
