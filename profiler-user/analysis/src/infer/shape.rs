//! What shape a graph of processes has: held against known shapes, with the best numbering of their nodes.
//!
//! In: how many nodes, and directed edges. Out: the shape, how well it fits, and other names of the same graph. Must not
//! know: what the nodes are.

use std::collections::BTreeSet;

/// Nodes that a shape is looked for among, at most.
pub(super) const MOST_NODES: usize = 64;
/// Steps of the search for a numbering, at most.
const MOST_STEPS: usize = 200_000;
/// Rounds of swaps that improve a numbering, at most.
const MOST_ROUNDS: usize = 16;
/// With a worse match than this it is none of the shapes.
const LEAST_MATCH: f64 = 0.8;

/// A shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) dimensions: Vec<u64>,
    /// Edges that both have over edges that either has; 1 is exact.
    pub(super) score: f64,
    pub(super) also: Vec<&'static str>,
}

/// Neighbours of each node as bits.
type Graph = Vec<u64>;

struct Template {
    name: &'static str,
    dimensions: Vec<u64>,
    graph: Graph,
}

/// The shape of a graph.
pub(super) fn shape(nodes: usize, edges: &BTreeSet<(u32, u32)>) -> Shape {
    let irregular = Shape {
        name: "irregular",
        ..Shape::default()
    };
    if !(2..=MOST_NODES).contains(&nodes) || edges.is_empty() {
        return irregular;
    }
    let pairs = edges.iter().map(|(a, b)| (*a as usize, *b as usize));
    let graph = graph(nodes, pairs);
    let templates = templates(nodes, way(edges));
    let mut exact = templates
        .iter()
        .filter(|template| same(&template.graph, &graph));
    if let Some(first) = exact.next() {
        let mut also: Vec<&'static str> = Vec::new();
        for other in exact {
            if other.name != first.name && !also.contains(&other.name) {
                also.push(other.name);
            }
        }
        return Shape {
            name: first.name,
            dimensions: first.dimensions.clone(),
            score: 1.0,
            also,
        };
    }
    let mut best = irregular;
    for template in &templates {
        let score = likeness(&template.graph, &graph);
        if score > best.score {
            best = Shape {
                name: template.name,
                dimensions: template.dimensions.clone(),
                score,
                also: Vec::new(),
            };
        }
    }
    if best.score < LEAST_MATCH {
        best.name = "irregular";
        best.dimensions.clear();
    }
    best
}

fn graph(nodes: usize, edges: impl IntoIterator<Item = (usize, usize)>) -> Graph {
    let mut graph = vec![0u64; nodes];
    for (a, b) in edges {
        if a != b && a < nodes && b < nodes {
            if let Some(bits) = graph.get_mut(a) {
                *bits |= 1 << b;
            }
            if let Some(bits) = graph.get_mut(b) {
                *bits |= 1 << a;
            }
        }
    }
    graph
}

fn has(graph: &Graph, a: usize, b: usize) -> bool {
    graph.get(a).is_some_and(|bits| bits >> b & 1 == 1)
}

fn degree(graph: &Graph, node: usize) -> u32 {
    graph.get(node).map_or(0, |bits| bits.count_ones())
}

fn count(graph: &Graph) -> u32 {
    graph.iter().map(|bits| bits.count_ones()).sum::<u32>() / 2
}

/// In which direction edges lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Some lead in both.
    Both,
    /// Each leads in one.
    One,
    /// The same, and no node has two that lead to it or away from it: each passes on.
    On,
}

fn way(edges: &BTreeSet<(u32, u32)>) -> Way {
    if edges.iter().any(|(a, b)| edges.contains(&(*b, *a))) {
        return Way::Both;
    }
    let (mut from, mut to) = (BTreeSet::new(), BTreeSet::new());
    if edges.iter().all(|(a, b)| from.insert(*a) && to.insert(*b)) {
        Way::On
    } else {
        Way::One
    }
}

/// All shapes of so many nodes, those first that lead where several are the same graph.
fn templates(nodes: usize, way: Way) -> Vec<Template> {
    let template = |name, dimensions, graph| Template {
        name,
        dimensions,
        graph,
    };
    let plain = |name, graph| template(name, Vec::new(), graph);
    let ring = || {
        plain(
            "ring",
            graph(nodes, (0..nodes).map(|i| (i, (i + 1) % nodes))),
        )
    };
    let path = || plain("pipeline", graph(nodes, (1..nodes).map(|i| (i - 1, i))));
    let mut all = Vec::new();
    // Node i reports to (i - 1) / 2; or to i without its lowest bit.
    let trees = || {
        let by_half = graph(nodes, (1..nodes).map(|i| (i, (i - 1) / 2)));
        let by_bit = graph(nodes, (1..nodes).map(|i| (i, i & (i - 1))));
        [plain("tree", by_half), plain("tree", by_bit)]
    };
    if way == Way::On {
        all.push(path());
        if nodes > 2 {
            all.push(ring());
        }
    }
    let pairs = (0..nodes).flat_map(|i| (0..i).map(move |j| (i, j)));
    all.push(plain("all-to-all", graph(nodes, pairs)));
    if nodes > 2 {
        all.push(plain("star", graph(nodes, (1..nodes).map(|i| (0, i)))));
    }
    if way != Way::On && nodes > 2 {
        all.push(ring());
    }
    if nodes.is_power_of_two() && nodes > 2 {
        let bits = nodes.trailing_zeros() as usize;
        let pairs = (0..nodes).flat_map(|i| (0..bits).map(move |bit| (i, i ^ (1 << bit))));
        all.push(template("hypercube", vec![2; bits], graph(nodes, pairs)));
    }
    // In a mesh neighbours talk in both directions; in a reduction they do not.
    if way == Way::One {
        all.extend(trees());
    }
    for extents in factors(nodes, nodes) {
        if extents.len() > 1 {
            all.push(grid("torus", &extents, true));
        }
        all.push(grid("mesh", &extents, false));
    }
    if way != Way::One {
        all.extend(trees());
    }
    if way != Way::On {
        all.push(path());
    }
    all
}

/// Ways to write a number as a product of numbers of at least 2, none greater than the one before.
fn factors(number: usize, most: usize) -> Vec<Vec<usize>> {
    if number == 1 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in (2..=number.min(most))
        .rev()
        .filter(|first| number.is_multiple_of(*first))
    {
        for mut rest in factors(number / first, first) {
            rest.insert(0, first);
            all.push(rest);
        }
    }
    all
}

fn grid(name: &'static str, extents: &[usize], wraps: bool) -> Template {
    let nodes: usize = extents.iter().product();
    let mut edges = Vec::new();
    let mut stride = 1;
    for extent in extents {
        for node in 0..nodes {
            let place = node / stride % extent;
            if place + 1 < *extent {
                edges.push((node, node + stride));
            } else if wraps {
                edges.push((node, node - place * stride));
            }
        }
        stride *= extent;
    }
    Template {
        name,
        dimensions: extents.iter().map(|extent| *extent as u64).collect(),
        graph: graph(nodes, edges),
    }
}

/// Whether there is a numbering that makes them the same.
fn same(template: &Graph, graph: &Graph) -> bool {
    let degrees = |graph: &Graph| {
        let mut degrees: Vec<u32> = graph.iter().map(|bits| bits.count_ones()).collect();
        degrees.sort_unstable();
        degrees
    };
    if degrees(template) != degrees(graph) {
        return false;
    }
    let order = breadth_first(template);
    let mut steps = 0;
    numbered(template, graph, &order, &mut Vec::new(), 0, &mut steps)
}

/// Nodes so that each has neighbours before it, as far as it can have.
fn breadth_first(graph: &Graph) -> Vec<usize> {
    let mut order = Vec::new();
    let mut seen = 0u64;
    for start in 0..graph.len() {
        if seen >> start & 1 == 1 {
            continue;
        }
        seen |= 1 << start;
        let mut next = order.len();
        order.push(start);
        while let Some(node) = order.get(next).copied() {
            next += 1;
            for other in 0..graph.len() {
                if has(graph, node, other) && seen >> other & 1 == 0 {
                    seen |= 1 << other;
                    order.push(other);
                }
            }
        }
    }
    order
}

/// Numbers the rest of the nodes, in this order; `at` has the node of the graph for each one before.
fn numbered(
    template: &Graph,
    graph: &Graph,
    order: &[usize],
    at: &mut Vec<usize>,
    used: u64,
    steps: &mut usize,
) -> bool {
    let Some(node) = order.get(at.len()).copied() else {
        return true;
    };
    for place in 0..graph.len() {
        *steps += 1;
        if *steps > MOST_STEPS {
            return false;
        }
        if used >> place & 1 == 1 || degree(template, node) != degree(graph, place) {
            continue;
        }
        let before = order.iter().zip(at.iter());
        let fits = before.into_iter().all(|(other, other_place)| {
            has(template, node, *other) == has(graph, place, *other_place)
        });
        if fits {
            at.push(place);
            if numbered(template, graph, order, at, used | 1 << place, steps) {
                return true;
            }
            at.pop();
        }
    }
    false
}

/// Edges that both have over edges that either has, with a good numbering: by degree first, then swapped as long as that helps.
fn likeness(template: &Graph, graph: &Graph) -> f64 {
    let nodes = graph.len();
    let by_degree = |graph: &Graph| {
        let mut order = breadth_first(graph);
        order.sort_by_key(|node| std::cmp::Reverse(degree(graph, *node)));
        order
    };
    let pairs = by_degree(template).into_iter().zip(by_degree(graph));
    let mut sorted = vec![0; nodes];
    for (node, place) in pairs {
        if let Some(at) = sorted.get_mut(node) {
            *at = place;
        }
    }
    let starts = [sorted, (0..nodes).collect()];
    let most = starts
        .into_iter()
        .map(|at| climbed(template, graph, at))
        .max();
    let both = most.unwrap_or(0);
    let either = count(template) + count(graph) - both;
    f64::from(both) / f64::from(either.max(1))
}

fn climbed(template: &Graph, graph: &Graph, mut at: Vec<usize>) -> u32 {
    let nodes = at.len();
    // Edges of one node that both have.
    let common = |at: &[usize], node: usize| -> u32 {
        let Some(place) = at.get(node) else { return 0 };
        let others = (0..nodes).filter(|other| has(template, node, *other));
        let both = others.filter(|other| at.get(*other).is_some_and(|b| has(graph, *place, *b)));
        both.count() as u32
    };
    for _ in 0..MOST_ROUNDS {
        let mut better = false;
        for a in 0..nodes {
            for b in 0..a {
                let before = common(&at, a) + common(&at, b);
                at.swap(a, b);
                if common(&at, a) + common(&at, b) > before {
                    better = true;
                } else {
                    at.swap(a, b);
                }
            }
        }
        if !better {
            break;
        }
    }
    (0..nodes).map(|node| common(&at, node)).sum::<u32>() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    type Edges = BTreeSet<(u32, u32)>;

    fn both(edges: impl IntoIterator<Item = (u32, u32)>) -> Edges {
        edges
            .into_iter()
            .flat_map(|(a, b)| [(a, b), (b, a)])
            .collect()
    }

    fn ring(n: u32) -> Edges {
        (0..n).map(|i| (i, (i + 1) % n)).collect()
    }

    fn all(n: u32) -> Edges {
        both((0..n).flat_map(|i| (0..i).map(move |j| (i, j))))
    }

    fn cube(bits: u32) -> Edges {
        let pairs = (0..1 << bits).flat_map(|i: u32| (0..bits).map(move |b| (i, i ^ (1 << b))));
        both(pairs)
    }

    fn binomial(n: u32) -> Edges {
        (1..n).map(|i| (i, i & (i - 1))).collect()
    }

    fn degrees(n: usize, edges: &Edges) -> (u32, Vec<u32>) {
        let graph = graph(n, edges.iter().map(|(a, b)| (*a as usize, *b as usize)));
        let mut degrees: Vec<u32> = (0..n).map(|node| degree(&graph, node)).collect();
        degrees.sort_unstable();
        (count(&graph), degrees)
    }

    #[test]
    fn the_fixtures_of_8_have_their_edges_and_degrees() {
        assert_eq!(degrees(8, &ring(8)), (8, vec![2; 8]));
        assert_eq!(degrees(8, &all(8)), (28, vec![7; 8]));
        assert_eq!(degrees(8, &cube(3)), (12, vec![3; 8]));
        assert_eq!(degrees(8, &binomial(8)), (7, vec![1, 1, 1, 1, 2, 2, 3, 3]));
    }

    /// The same graph with its nodes numbered otherwise.
    fn shuffled(n: u32, edges: &Edges, seed: u64) -> Edges {
        let mut numbers: Vec<u32> = (0..n).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut numbers);
        let pairs = edges
            .iter()
            .map(|(a, b)| (numbers[*a as usize], numbers[*b as usize]));
        pairs.collect()
    }

    fn name(n: u32, edges: &Edges) -> &'static str {
        let found = shape(n as usize, edges);
        assert_eq!(found.score, 1.0, "{found:?}");
        found.name
    }

    #[test]
    fn known_shapes_are_told_however_they_are_numbered() {
        for seed in 0..5 {
            let is = |n, edges: &Edges| name(n, &shuffled(n, edges, seed));
            for n in [5, 6, 8, 16] {
                assert_eq!(is(n, &ring(n)), "ring");
                assert_eq!(is(n, &both(ring(n))), "ring");
                assert_eq!(is(n, &all(n)), "all-to-all");
                assert_eq!(is(n, &both((1..n).map(|i| (0, i)))), "star");
                assert_eq!(is(n, &(1..n).map(|i| (i - 1, i)).collect()), "pipeline");
            }
            assert_eq!(is(8, &cube(3)), "hypercube");
            assert_eq!(is(16, &cube(4)), "hypercube");
            assert_eq!(is(8, &binomial(8)), "tree");
            assert_eq!(is(7, &both((1..7).map(|i| (i, (i - 1) / 2)))), "tree");
            let edges = |name, extents: &[usize], wraps| -> Edges {
                let graph = grid(name, extents, wraps).graph;
                let nodes = graph.len();
                let pairs = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
                let pairs = pairs.filter(|(a, b)| has(&graph, *a, *b));
                pairs.map(|(a, b)| (a as u32, b as u32)).collect()
            };
            let found = shape(9, &shuffled(9, &edges("torus", &[3, 3], true), seed));
            assert_eq!((found.name, found.dimensions), ("torus", vec![3, 3]));
            let found = shape(12, &shuffled(12, &edges("mesh", &[4, 3], false), seed));
            assert_eq!((found.name, found.dimensions), ("mesh", vec![4, 3]));
            let found = shape(27, &shuffled(27, &edges("torus", &[3, 3, 3], true), seed));
            assert_eq!((found.name, found.dimensions), ("torus", vec![3, 3, 3]));
        }
    }

    #[test]
    fn shapes_that_are_the_same_graph_are_all_named() {
        let found = shape(4, &ring(4));
        assert_eq!(found.name, "ring");
        assert!(found.also.contains(&"torus") && found.also.contains(&"hypercube"));
        let found = shape(3, &ring(3));
        assert_eq!((found.name, found.also), ("ring", vec!["all-to-all"]));
        let found = shape(2, &both([(0, 1)]));
        assert_eq!(found.name, "all-to-all");
        assert!(found.also.contains(&"pipeline"));
    }

    /// A reduction of 4 is a path as a graph, and nothing is passed on along it.
    #[test]
    fn what_flows_together_is_no_pipeline() {
        let found = shape(4, &binomial(4));
        assert_eq!(found.name, "tree");
        assert!(found.also.contains(&"pipeline"), "{found:?}");
        assert_eq!(shape(3, &[(1, 0), (2, 0)].into()).name, "star");
        assert_eq!(shape(4, &[(3, 2), (2, 1), (1, 0)].into()).name, "pipeline");
    }

    #[test]
    fn an_edge_too_many_is_a_worse_match_and_noise_is_none() {
        let mut edges = cube(3);
        edges.insert((0, 7));
        let found = shape(8, &edges);
        assert_eq!(found.name, "hypercube");
        assert!((found.score - 12.0 / 13.0).abs() < 1e-9, "{found:?}");
        let mut random = fastrand::Rng::with_seed(3);
        let noise: Edges = (0..20)
            .map(|_| (random.u32(0..12), random.u32(0..12)))
            .collect();
        assert_eq!(shape(12, &noise).name, "irregular");
        assert_eq!(shape(1, &Edges::new()).name, "irregular");
        assert_eq!(shape(100, &ring(100)).name, "irregular");
    }
}
