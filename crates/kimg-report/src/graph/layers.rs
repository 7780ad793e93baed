//! Places for the boxes of a graph: layers from left to right, few crossings, boxes near what they hang on.
//!
//! After Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981): loops are
//! broken, each box gets the layer behind its last predecessor, long edges get a bend in each layer they pass, layers
//! are sorted by the means of their neighbours, and then moved towards them. The same graph gives the same picture.

/// A box or a bend of a long edge, in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Where everything stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    /// The boxes, as they were given.
    pub(super) boxes: Vec<Place>,
    /// For each edge the points it passes between its boxes, from its start to its end.
    pub(super) bends: Vec<Vec<(f64, f64)>>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Between two layers.
const BETWEEN_LAYERS: f64 = 56.0;
/// Between two boxes of a layer.
const BETWEEN_BOXES: f64 = 14.0;
/// How often layers are sorted.
const SWEEPS: usize = 12;

/// Lays out boxes of these widths and heights.
pub(super) fn lay_out(sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> Layout {
    let forward = without_loops(sizes.len(), edges);
    let ranks = ranks(sizes.len(), &forward);
    let mut layers = Layers::new(sizes, &forward, &ranks);
    layers.sort();
    layers.places(&layers.rows(), edges, &forward)
}

/// The edges, each turned so that no loop is left.
fn without_loops(count: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // 0: not met, 1: on the way here, 2: done.
    let mut state = vec![0_u8; count];
    let mut turned = vec![false; edges.len()];
    for start in 0..count {
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        if state[start] != 0 {
            continue;
        }
        state[start] = 1;
        while let Some((place, next)) = way.last_mut() {
            let Some(found) = (*next..edges.len()).find(|&e| edges[e].0 == *place) else {
                state[*place] = 2;
                way.pop();
                continue;
            };
            *next = found + 1;
            let to = edges[found].1;
            match state[to] {
                0 => {
                    state[to] = 1;
                    way.push((to, 0));
                }
                1 => turned[found] = true,
                _ => {}
            }
        }
    }
    edges
        .iter()
        .zip(turned)
        .map(|(&(from, to), turned)| if turned { (to, from) } else { (from, to) })
        .collect()
}

/// The layer of each box: one behind the last of what leads to it.
fn ranks(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut ranks = vec![0; count];
    // Without loops this ends after at most as many rounds as there are boxes.
    for _ in 0..count {
        let mut changed = false;
        for &(from, to) in edges {
            if ranks[to] <= ranks[from] {
                ranks[to] = ranks[from] + 1;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    ranks
}

/// Boxes and bends in their layers. Boxes come first, so their numbers are those of the graph.
struct Layers {
    sizes: Vec<(f64, f64)>,
    rank: Vec<usize>,
    /// Each layer's boxes and bends from top to bottom.
    order: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    /// The bends of each edge, in the direction without loops.
    bends: Vec<Vec<usize>>,
}

impl Layers {
    fn new(sizes: &[(f64, f64)], edges: &[(usize, usize)], ranks: &[usize]) -> Self {
        let mut all = Self {
            sizes: sizes.to_vec(),
            rank: ranks.to_vec(),
            order: vec![Vec::new(); ranks.iter().max().map_or(0, |last| last + 1)],
            before: vec![Vec::new(); sizes.len()],
            after: vec![Vec::new(); sizes.len()],
            bends: Vec::new(),
        };
        for (place, &rank) in ranks.iter().enumerate() {
            all.order[rank].push(place);
        }
        for &(from, to) in edges {
            let mut last = from;
            let mut bends = Vec::new();
            for rank in ranks[from] + 1..ranks[to] {
                let bend = all.bend(rank);
                all.join(last, bend);
                bends.push(bend);
                last = bend;
            }
            all.join(last, to);
            all.bends.push(bends);
        }
        all
    }

    fn bend(&mut self, rank: usize) -> usize {
        let bend = self.sizes.len();
        self.sizes.push((0.0, 2.0));
        self.rank.push(rank);
        self.order[rank].push(bend);
        self.before.push(Vec::new());
        self.after.push(Vec::new());
        bend
    }

    fn join(&mut self, from: usize, to: usize) {
        self.after[from].push(to);
        self.before[to].push(from);
    }

    /// Sorts each layer by the means of its neighbours' places, there and back; keeps the order with fewest crossings.
    fn sort(&mut self) {
        let mut best = (self.crossings(), self.order.clone());
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            let layers: Vec<usize> =
                if down { (0..self.order.len()).collect() } else { (0..self.order.len()).rev().collect() };
            for layer in layers {
                let place = self.places_in_layers();
                let neighbours = if down { &self.before } else { &self.after };
                let mean = |node: usize| {
                    let of = &neighbours[node];
                    if of.is_empty() { place[node] } else { mean(of.iter().map(|&n| place[n])) }
                };
                let mut sorted: Vec<(f64, usize)> = self.order[layer].iter().map(|&n| (mean(n), n)).collect();
                // A stable sort: what stands alike stays as it was.
                sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.order[layer] = sorted.into_iter().map(|(_, node)| node).collect();
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.order.clone());
            }
        }
        self.order = best.1;
    }

    /// The place of each box and bend in its layer, as a part of the layer's length.
    fn places_in_layers(&self) -> Vec<f64> {
        let mut places = vec![0.0; self.sizes.len()];
        for layer in &self.order {
            for (index, &node) in layer.iter().enumerate() {
                places[node] = (number(index) + 0.5) / number(layer.len());
            }
        }
        places
    }

    fn crossings(&self) -> usize {
        let place = self.places_in_layers();
        let mut crossings = 0;
        for layer in &self.order {
            let lines: Vec<(f64, f64)> = layer
                .iter()
                .flat_map(|&from| self.after[from].iter().map(move |&to| (from, to)))
                .map(|(from, to)| (place[from], place[to]))
                .collect();
            for (index, one) in lines.iter().enumerate() {
                crossings +=
                    lines[index + 1..].iter().filter(|o| (one.0 - o.0) * (one.1 - o.1) < 0.0).count();
            }
        }
        crossings
    }

    /// The middle of each box and bend from above: near its neighbours, with room between those of a layer.
    fn rows(&self) -> Vec<f64> {
        let mut middles = vec![0.0; self.sizes.len()];
        for layer in &self.order {
            let mut next = 0.0;
            for &node in layer {
                middles[node] = next + self.sizes[node].1 / 2.0;
                next += self.sizes[node].1 + BETWEEN_BOXES;
            }
        }
        for round in 0..8 {
            for index in 0..self.order.len() {
                let layer = &self.order[if round % 2 == 0 { index } else { self.order.len() - 1 - index }];
                let wanted: Vec<f64> = layer
                    .iter()
                    .map(|&node| {
                        let near = || self.before[node].iter().chain(&self.after[node]);
                        if near().next().is_none() {
                            middles[node]
                        } else {
                            mean(near().map(|&n| middles[n]))
                        }
                    })
                    .collect();
                let heights: Vec<f64> = layer.iter().map(|&node| self.sizes[node].1).collect();
                for (&node, middle) in layer.iter().zip(apart(&wanted, &heights)) {
                    middles[node] = middle;
                }
            }
        }
        let top = |node: usize| middles[node] - self.sizes[node].1 / 2.0;
        let highest = (0..self.sizes.len()).map(top).fold(f64::INFINITY, f64::min);
        middles.iter().map(|middle| middle - highest).collect()
    }

    fn places(&self, middles: &[f64], edges: &[(usize, usize)], forward: &[(usize, usize)]) -> Layout {
        let mut lefts = Vec::new();
        let mut next = 0.0;
        for layer in &self.order {
            let width = layer.iter().map(|&node| self.sizes[node].0).fold(0.0, f64::max);
            lefts.push((next, width));
            next += width + BETWEEN_LAYERS;
        }
        let places: Vec<Place> = (0..self.sizes.len())
            .map(|node| {
                let (width, height) = self.sizes[node];
                Place { x: lefts[self.rank[node]].0, y: middles[node] - height / 2.0, width, height }
            })
            .collect();
        let bends = self
            .bends
            .iter()
            .zip(edges.iter().zip(forward))
            .map(|(bends, (edge, forward))| {
                // Through the whole width of its layer a long edge goes straight: boxes there are as wide.
                let mut points: Vec<(f64, f64)> = bends
                    .iter()
                    .flat_map(|&bend| {
                        let (left, width) = lefts[self.rank[bend]];
                        [(left, middles[bend]), (left + width, middles[bend])]
                    })
                    .collect();
                if edge != forward {
                    points.reverse();
                }
                points
            })
            .collect();
        let height = (0..self.sizes.len()).map(|n| middles[n] + self.sizes[n].1 / 2.0).fold(0.0, f64::max);
        let boxes = places[..places.len() - self.bends.iter().map(Vec::len).sum::<usize>()].to_vec();
        Layout { boxes, bends, width: (next - BETWEEN_LAYERS).max(0.0), height }
    }
}

/// The middles nearest to the wanted ones (least squares) that keep the order and the room between boxes.
///
/// Without the room it is a monotone regression, which "pool adjacent violators" solves: neighbours that would stand
/// in the wrong order are moved together, to the mean of what they want.
fn apart(wanted: &[f64], heights: &[f64]) -> Vec<f64> {
    let mut offsets = Vec::with_capacity(wanted.len());
    let mut offset = 0.0;
    for (index, height) in heights.iter().enumerate() {
        if index > 0 {
            offset += f64::midpoint(heights[index - 1], *height) + BETWEEN_BOXES;
        }
        offsets.push(offset);
    }
    // Each pool: the sum of what its members want, and how many they are.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (wanted, offset) in wanted.iter().zip(&offsets) {
        pools.push((wanted - offset, 1));
        while let [.., (above, above_count), (sum, count)] = pools[..] {
            if above / number(above_count) <= sum / number(count) {
                break;
            }
            pools.truncate(pools.len() - 2);
            pools.push((above + sum, above_count + count));
        }
    }
    let means = pools.into_iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / number(count), count));
    means.zip(offsets).map(|(mean, offset)| mean + offset).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / number(count)
}

#[expect(clippy::cast_precision_loss, reason = "counts of boxes are far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_stands_in_one_row() {
        let layout = lay_out(&[(100.0, 30.0), (80.0, 30.0), (60.0, 30.0)], &[(0, 1), (1, 2)]);
        let places: Vec<_> = layout.boxes.iter().map(|p| (p.x, p.y)).collect();
        assert_eq!(places, [(0.0, 0.0), (156.0, 0.0), (292.0, 0.0)]);
        assert_eq!((layout.width, layout.height), (352.0, 30.0));
    }

    #[test]
    fn a_long_edge_bends_in_the_layer_it_passes() {
        let layout = lay_out(&[(10.0, 10.0); 3], &[(0, 1), (1, 2), (0, 2)]);
        assert!(layout.bends[0].is_empty() && layout.bends[1].is_empty());
        assert_eq!(layout.bends[2].len(), 2);
        let y = layout.bends[2][0].1;
        let passed = layout.boxes[1];
        assert!(
            y < passed.y || y > passed.y + passed.height,
            "it does not go through the box: {y} {passed:?}"
        );
    }

    proptest! {
        #[test]
        fn whatever_the_graph_no_two_boxes_overlap_and_all_lie_in_the_picture(
            sizes in proptest::collection::vec((20_u16..200, 20_u16..60), 1..14),
            pairs in proptest::collection::vec((0_usize..14, 0_usize..14), 0..40),
        ) {
            let sizes: Vec<(f64, f64)> = sizes.iter().map(|&(w, h)| (f64::from(w), f64::from(h))).collect();
            let edges: Vec<_> = pairs.into_iter().map(|(a, b)| (a % sizes.len(), b % sizes.len())).filter(|(a, b)| a != b).collect();
            let layout = lay_out(&sizes, &edges);
            prop_assert_eq!(layout.boxes.len(), sizes.len());
            prop_assert_eq!(layout.bends.len(), edges.len());
            for (index, one) in layout.boxes.iter().enumerate() {
                prop_assert!(one.x >= 0.0 && one.y >= -0.01);
                prop_assert!(one.x + one.width <= layout.width + 0.01 && one.y + one.height <= layout.height + 0.01);
                for other in &layout.boxes[index + 1..] {
                    let beside = one.x + one.width < other.x || other.x + other.width < one.x;
                    let below = one.y + one.height < other.y || other.y + other.height < one.y;
                    prop_assert!(beside || below, "{:?} {:?}", one, other);
                }
            }
            prop_assert_eq!(&layout, &lay_out(&sizes, &edges));
        }
    }
}
