//! Warning once that a quota is near.

/// Whether the quota of the dead letters is near: logged once, and again only after it was not.
#[derive(Default)]
pub struct QuotaWarning(bool);

impl QuotaWarning {
    /// Tells if it has come near since the last look.
    pub fn tell(&mut self, usage: u64, quota: u64) {
        if self.is_news(usage, quota) {
            tracing::warn!(
                "dead letters take {} MiB of the {} MiB of dead_letters.max_bytes: beyond it the \
                 oldest are purged; see `pinrelay dead list`, then retry, export or purge them",
                usage >> 20,
                quota >> 20
            );
        }
    }

    /// Whether 80% was reached just now.
    fn is_news(&mut self, usage: u64, quota: u64) -> bool {
        let is_near = usage >= quota / 5 * 4;
        let was_near = std::mem::replace(&mut self.0, is_near);
        is_near && !was_near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_the_quota_is_near_is_news_once_until_it_was_not() {
        let mut warning = QuotaWarning::default();
        let news = [0, 79, 80, 99, 120, 80, 79, 85, 85].map(|usage| warning.is_news(usage, 100));
        let told: Vec<usize> = (0..news.len()).filter(|at| news[*at]).collect();
        assert_eq!(told, [2, 7]);
    }
}
