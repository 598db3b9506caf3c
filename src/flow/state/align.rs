//! Which elements of two arrays are the same ones: a common subsequence, found with bounded work.

use std::collections::HashMap;
use std::ops::Range;

/// Pairs of places `(old, new)`, both rising.
pub type Pairs = Vec<(usize, usize)>;

/// Steps that the exact search may take: elements times differences.
const EFFORT: usize = 1 << 20;
/// Differences up to which the exact search goes; it remembers their square.
const MAX_DIFFERENCES: usize = 128;

/// Matches equal elements of `old` and `new`. Exact (Myers) for few differences; beyond a bound a rising sequence of
/// matched occurrences, which is exact as long as no element repeats. If comparing place by place leaves fewer
/// elements to change, that.
pub fn align<'a>(old: &[Option<&'a str>], new: &[Option<&'a str>]) -> Pairs {
    let mut names = Names::default();
    let old: Vec<u32> = old.iter().map(|element| names.number(*element)).collect();
    let new: Vec<u32> = new.iter().map(|element| names.number(*element)).collect();
    let pairs = shortest(&old, &new).unwrap_or_else(|| rising(&old, &new, names.count));
    if old.len() == new.len() {
        let in_place: Pairs = (0..old.len()).filter(|i| old[*i] == new[*i]).map(|i| (i, i)).collect();
        if old.len() - in_place.len() <= changes(&pairs, old.len(), new.len()) {
            return in_place;
        }
    }
    pairs
}

/// Gives equal elements equal numbers, and each `None` one of its own.
#[derive(Default)]
struct Names<'a> {
    numbers: HashMap<&'a str, u32>,
    count: u32,
}

impl<'a> Names<'a> {
    fn number(&mut self, element: Option<&'a str>) -> u32 {
        let next = self.count;
        let number = element.map_or(next, |text| *self.numbers.entry(text).or_insert(next));
        self.count += u32::from(number == next);
        number
    }
}

/// How many elements have to be changed, added or removed around the pairs.
fn changes(pairs: &Pairs, old_len: usize, new_len: usize) -> usize {
    gaps(pairs, old_len, new_len).map(|(old, new)| old.len().max(new.len())).sum()
}

/// The stretches between the pairs, before the first and behind the last, as ranges of `old` and `new`.
pub fn gaps(
    pairs: &Pairs,
    old_len: usize,
    new_len: usize,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let (mut i, mut j) = (0, 0);
    pairs.iter().copied().chain([(old_len, new_len)]).map(move |(old, new)| {
        let gap = (i..old, j..new);
        (i, j) = (old + 1, new + 1);
        gap
    })
}

/// The longest common subsequence by Myers' greedy search, or `None` when it would take too long.
fn shortest(old: &[u32], new: &[u32]) -> Option<Pairs> {
    let most = (EFFORT / (old.len() + new.len() + 1)).min(MAX_DIFFERENCES).min(old.len() + new.len());
    // `furthest[k + most + 1]`: how far in `old` the diagonal k (place in old minus place in new) is explored.
    let origin = most as isize + 1;
    let at = |k: isize| (k + origin) as usize;
    let mut furthest = vec![0_usize; 2 * most + 3];
    let mut trace: Vec<Vec<usize>> = Vec::new();
    for d in 0..=most as isize {
        for k in (-d..=d).step_by(2) {
            let down = k == -d || (k != d && furthest[at(k - 1)] < furthest[at(k + 1)]);
            let mut x = if down { furthest[at(k + 1)] } else { furthest[at(k - 1)] + 1 };
            let mut y = (x as isize - k) as usize;
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            furthest[at(k)] = x;
            if x >= old.len() && y >= new.len() {
                return Some(walk_back(&trace, old.len(), new.len()));
            }
        }
        trace.push(furthest[at(-d)..=at(d)].to_vec());
    }
    None
}

/// Follows the search back from the end; `trace[d]` holds the diagonals from -d to d after d differences.
fn walk_back(trace: &[Vec<usize>], old_len: usize, new_len: usize) -> Pairs {
    let mut pairs = Vec::new();
    let (mut x, mut y) = (old_len, new_len);
    for d in (1..=trace.len() as isize).rev() {
        let before = &trace[d as usize - 1];
        // Diagonals beyond the ones explored count as 0, as they did during the search.
        let furthest = |k: isize| before.get((k + d - 1) as usize).copied().unwrap_or(0);
        let k = x as isize - y as isize;
        let down = k == -d || (k != d && furthest(k - 1) < furthest(k + 1));
        let from = if down { k + 1 } else { k - 1 };
        let from_x = furthest(from);
        let from_y = (from_x as isize - from) as usize;
        let (start_x, start_y) = if down { (from_x, from_y + 1) } else { (from_x + 1, from_y) };
        pairs.extend((start_x..x).rev().zip((start_y..y).rev()));
        (x, y) = (from_x, from_y);
    }
    pairs.extend((0..x).rev().zip((0..y).rev()));
    pairs.reverse();
    pairs
}

/// Matches the nth occurrence of each element with its nth on the other side and keeps a longest rising sequence of
/// these pairs. Time: n log n.
fn rising(old: &[u32], new: &[u32], count: u32) -> Pairs {
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); count as usize];
    for (j, number) in new.iter().enumerate().rev() {
        waiting[*number as usize].push(j);
    }
    let pairs: Pairs = old
        .iter()
        .enumerate()
        .filter_map(|(i, number)| Some((i, waiting[*number as usize].pop()?)))
        .collect();
    // `best[n]`: the pair with the lowest end of all rising sequences of n + 1 pairs; `before`: the way back.
    let mut best: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (at, (_, j)) in pairs.iter().enumerate() {
        let len = best.partition_point(|end| pairs[*end].1 < *j);
        before.push(len.checked_sub(1).map(|shorter| best[shorter]));
        if len == best.len() {
            best.push(at);
        } else {
            best[len] = at;
        }
    }
    let mut kept: Pairs =
        std::iter::successors(best.last().copied(), |at| before[*at]).map(|at| pairs[at]).collect();
    kept.reverse();
    kept
}
