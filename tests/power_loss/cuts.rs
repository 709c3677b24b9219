//! Every cut, and what each could leave.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{Change, Disk, Image, LetterFilter, Pending, SECTOR};
use crate::step::{Act, Step};

/// One cut and one selection of what it kept.
#[derive(Clone, Debug)]
pub struct Cut {
    /// What ended before this moment had happened.
    pub moment: usize,
    /// The sync after which, or before whose end, it comes.
    pub sync: usize,
    pub kept: String,
    /// Only what is durable for certain: every later cut has at least this.
    pub least: bool,
}

/// Goes through all steps and shows each cut with its image, made on demand; returns the number
/// of syncs. Only cuts after the moment `from` are shown. The same steps and seed give the same
/// cuts.
pub fn each(
    steps: &[Step],
    from: usize,
    seed: u64,
    mut show: impl FnMut(Cut, &dyn Fn() -> Image),
) -> usize {
    let mut disk = Disk::new();
    let mut dice = StdRng::seed_from_u64(seed);
    let mut syncs = 0;
    // Changes up to this number stood at the last sync.
    let mut before = 0;
    for step in steps {
        let is_sync = matches!(step.act, Act::Sync { .. });
        let is_socket = matches!(step.act, Act::Sent { .. } | Act::Got { .. });
        if is_socket {
            // An answer that begins to leave counts from then on.
            continue;
        }
        if step.end <= from {
            disk.take(step);
            continue;
        }
        if is_sync || matches!(step.act, Act::End) {
            let pending = disk.pending();
            for (kept, keep) in selections(&pending, before, &mut dice) {
                let cut = Cut {
                    moment: step.end,
                    sync: syncs,
                    least: kept == "nothing",
                    kept,
                };
                show(cut, &|| disk.image(&|p| keep[&p.number]));
            }
            before = pending.last().map_or(before, |p| p.number);
        }
        syncs += usize::from(disk.take(step));
        for all in [false, true] {
            let cut = Cut {
                moment: step.end + 1,
                sync: syncs,
                kept: if all { "all so far" } else { "nothing so far" }.into(),
                least: !all,
            };
            let keep = if all {
                LetterFilter::All
            } else {
                LetterFilter::Nothing
            };
            show(cut, &|| disk.image(&|_| keep));
        }
    }
    syncs
}

type Selection = std::collections::HashMap<usize, LetterFilter>;

/// What a cut could have kept of the pending changes, each selection with a name.
fn selections(pending: &[Pending], before: usize, dice: &mut StdRng) -> Vec<(String, Selection)> {
    let mut out: Vec<(String, Selection)> = Vec::new();
    let by = |keep: &mut dyn FnMut(usize, &Pending) -> LetterFilter| -> Selection {
        let each = pending.iter().enumerate();
        each.map(|(at, p)| (p.number, keep(at, p))).collect()
    };
    let all_if = |yes: bool| {
        if yes {
            LetterFilter::All
        } else {
            LetterFilter::Nothing
        }
    };
    out.push(("nothing".into(), by(&mut |_, _| LetterFilter::Nothing)));
    out.push(("all".into(), by(&mut |_, _| LetterFilter::All)));
    if pending.is_empty() {
        return out;
    }
    let names = |p: &Pending| !matches!(p.change, Change::Write { .. } | Change::Truncate(_));
    out.push(("names only".into(), by(&mut |_, p| all_if(names(p)))));
    out.push(("bytes only".into(), by(&mut |_, p| all_if(!names(p)))));
    let recent: Vec<usize> = (0..pending.len())
        .filter(|at| pending[*at].number > before)
        .collect();
    // In order up to here; all but this one; this one alone.
    let few = |dice: &mut StdRng| -> Vec<usize> {
        let mut some = recent.clone();
        while some.len() > 8 {
            some.swap_remove(dice.random_range(0..some.len()));
        }
        some
    };
    for end in few(dice) {
        let keep = by(&mut |at, _| all_if(at < end));
        out.push((format!("the first {end} of {}", pending.len()), keep));
    }
    for gone in few(dice) {
        out.push((
            format!("all but change {}", pending[gone].number),
            by(&mut |at, _| all_if(at != gone)),
        ));
    }
    for lone in few(dice) {
        out.push((
            format!("change {} alone", pending[lone].number),
            by(&mut |at, _| all_if(at == lone)),
        ));
    }
    // The last write torn: what is before it stands, and some of its sectors.
    let sectors = |p: &Pending| match &p.change {
        Change::Write { at, data } => {
            (*at as usize + data.len()).div_ceil(SECTOR) - *at as usize / SECTOR
        }
        _ => 1,
    };
    let torn: Vec<usize> = (recent.iter().copied())
        .filter(|at| sectors(&pending[*at]) > 1)
        .collect();
    for _ in 0..4.min(torn.len() * 4) {
        let last = torn[dice.random_range(0..torn.len())];
        let count = sectors(&pending[last]).min(64);
        let mask = (1u64 << dice.random_range(1..count)) - 1;
        let ragged: u64 = dice.random();
        for (how, mask) in [("from its front", mask), ("ragged", ragged)] {
            let keep = by(&mut |at, _| match at.cmp(&last) {
                std::cmp::Ordering::Less => LetterFilter::All,
                std::cmp::Ordering::Equal => LetterFilter::Sectors(mask),
                std::cmp::Ordering::Greater => LetterFilter::Nothing,
            });
            out.push((format!("change {} torn {how}", pending[last].number), keep));
        }
    }
    for turn in 0..6 {
        let share = [0.25, 0.5, 0.75][turn % 3];
        let tear = turn >= 3;
        let keep = by(&mut |_, p| match dice.random_bool(share) {
            _ if tear && !names(p) && sectors(p) > 1 && dice.random_bool(0.5) => {
                LetterFilter::Sectors(dice.random())
            }
            kept => all_if(kept),
        });
        let torn = if tear { ", torn" } else { "" };
        out.push((format!("any {share}{torn}, {turn}"), keep));
    }
    out
}
