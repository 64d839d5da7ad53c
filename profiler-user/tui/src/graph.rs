//! The map's geometry: layers from left to right, one box a component, one wire a pair that talks.
//!
//! In: nodes with their sizes and links with their labels' widths. Out: boxes, and wires as cells.
//! Must not know: components, screens, styles.

/// A box to be placed.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Width of its contents.
    pub width: usize,
    /// Rows of its contents.
    pub rows: usize,
}

/// A wire to be drawn. Links must not form a cycle.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub from: usize,
    pub to: usize,
    /// Width of its label.
    pub label: usize,
}

/// A placed rectangle, frame included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Placed {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// The whole picture; `layers` boxes stand side by side.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub layers: usize,
    pub width: usize,
    pub height: usize,
    /// One for each node.
    pub boxes: Vec<Placed>,
    /// Where each link's label begins.
    pub labels: Vec<(usize, usize)>,
    /// Pieces of wire: column, row, glyph.
    pub wires: Vec<(usize, usize, char)>,
}

/// What stands in a layer: a box, or the place where a longer wire passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Node(usize),
    Pass,
}

struct Slot {
    item: Item,
    /// Order within the layer, by which wires cross least.
    weight: f64,
    y: usize,
}

/// A piece of a link between two neighbouring layers; slots are numbered over all layers.
struct Hop {
    from: usize,
    to: usize,
    link: usize,
}

/// Blank columns around a wire's bends and its label.
const STUB: usize = 2;
/// Columns between two vertical runs.
const LANE: usize = 2;

/// Room that is given away.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spacing {
    /// Blank rows between boxes.
    pub rows: usize,
    /// Columns of wire more than needed between two layers.
    pub columns: usize,
}

/// Places everything. `None` if the links form a cycle.
pub(super) fn lay_out(nodes: &[Node], links: &[Link], spacing: Spacing) -> Option<Picture> {
    let depth = depths(nodes.len(), links)?;
    let (mut slots, mut layers, hops) = slots(&depth, links);
    order(&mut slots, &mut layers, &hops);
    let height = stack(nodes, &mut slots, &layers, &hops, spacing.rows);
    let mut picture = Picture {
        layers: layers.len(),
        height,
        boxes: vec![Placed::default(); nodes.len()],
        labels: vec![(0, 0); links.len()],
        ..Picture::default()
    };
    draw(
        &mut picture,
        nodes,
        links,
        &slots,
        &layers,
        &hops,
        spacing.columns,
    );
    Some(picture)
}

/// Longest way from a node without predecessors.
fn depths(nodes: usize, links: &[Link]) -> Option<Vec<usize>> {
    let mut depth = vec![0; nodes];
    // In a graph without cycles a way has fewer links than there are nodes.
    for _ in 0..=nodes {
        let mut settled = true;
        for link in links {
            if depth[link.to] <= depth[link.from] {
                depth[link.to] = depth[link.from] + 1;
                settled = false;
            }
        }
        if settled {
            return Some(depth);
        }
    }
    None
}

fn slots(depth: &[usize], links: &[Link]) -> (Vec<Slot>, Vec<Vec<usize>>, Vec<Hop>) {
    let mut slots = Vec::new();
    let mut layers = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
    let mut add = |item, layer: usize, slots: &mut Vec<Slot>| {
        slots.push(Slot {
            item,
            weight: slots.len() as f64,
            y: 0,
        });
        layers[layer].push(slots.len() - 1);
        slots.len() - 1
    };
    for (node, &layer) in depth.iter().enumerate() {
        add(Item::Node(node), layer, &mut slots);
    }
    let mut hops = Vec::new();
    for (number, link) in links.iter().enumerate() {
        let mut from = link.from;
        for layer in depth[link.from] + 1..depth[link.to] {
            let pass = add(Item::Pass, layer, &mut slots);
            hops.push(Hop {
                from,
                to: pass,
                link: number,
            });
            from = pass;
        }
        hops.push(Hop {
            from,
            to: link.to,
            link: number,
        });
    }
    (slots, layers, hops)
}

/// Sorts each layer by the mean place of its neighbours to the left; ties keep the order of the nodes given.
fn order(slots: &mut [Slot], layers: &mut [Vec<usize>], hops: &[Hop]) {
    for layer in layers {
        for &slot in &*layer {
            let before: Vec<f64> = hops
                .iter()
                .filter(|hop| hop.to == slot)
                .map(|hop| slots[hop.from].weight)
                .collect();
            if !before.is_empty() {
                slots[slot].weight = before.iter().sum::<f64>() / before.len() as f64;
            }
        }
        layer.sort_by(|&a, &b| slots[a].weight.total_cmp(&slots[b].weight));
        for (place, &slot) in layer.iter().enumerate() {
            slots[slot].weight = place as f64;
        }
    }
}

fn height(nodes: &[Node], slots: &[Slot], hops: &[Hop], slot: usize) -> usize {
    match slots[slot].item {
        Item::Pass => 1,
        Item::Node(node) => {
            let inputs = hops.iter().filter(|hop| hop.to == slot).count();
            nodes[node].rows.max(inputs) + 2
        }
    }
}

/// Row of the only output of a slot: the first row of a box's contents.
fn output(slots: &[Slot], slot: usize) -> usize {
    match slots[slot].item {
        Item::Pass => slots[slot].y,
        Item::Node(_) => slots[slot].y + 1,
    }
}

/// Rows of the inputs of a slot, from the top, in the order of where they come from.
fn inputs(slots: &[Slot], hops: &[Hop], slot: usize) -> Vec<usize> {
    let mut inputs: Vec<usize> = (0..hops.len())
        .filter(|&hop| hops[hop].to == slot)
        .collect();
    inputs.sort_by_key(|&hop| output(slots, hops[hop].from));
    inputs
}

/// Gives every slot its row: level with where its first wire comes from, below its upper neighbour.
fn stack(
    nodes: &[Node],
    slots: &mut [Slot],
    layers: &[Vec<usize>],
    hops: &[Hop],
    gap: usize,
) -> usize {
    let mut bottom = 0;
    for layer in layers {
        let mut free = 0;
        for &slot in layer {
            let first = hops
                .iter()
                .filter(|hop| hop.to == slot)
                .map(|hop| output(slots, hop.from));
            let level = first.min().unwrap_or(0);
            let frame = usize::from(slots[slot].item != Item::Pass);
            slots[slot].y = free.max(level.saturating_sub(frame));
            free = slots[slot].y + height(nodes, slots, hops, slot) + gap;
        }
        bottom = bottom.max(free.saturating_sub(gap));
    }
    bottom
}

/// What runs through one cell of wire: directions as bits, and the slot it comes from.
#[derive(Clone, Copy, Default)]
struct Cell {
    directions: u8,
    owner: usize,
}

const LEFT: u8 = 1;
const RIGHT: u8 = 2;
const UP: u8 = 4;
const DOWN: u8 = 8;

fn draw(
    picture: &mut Picture,
    nodes: &[Node],
    links: &[Link],
    slots: &[Slot],
    layers: &[Vec<usize>],
    hops: &[Hop],
    stretch: usize,
) {
    let mut x = 0;
    for (depth, layer) in layers.iter().enumerate() {
        let width = layer.iter().filter_map(|&slot| match slots[slot].item {
            Item::Node(node) => Some(nodes[node].width + 4),
            Item::Pass => None,
        });
        let width = width.max().unwrap_or(1);
        for &slot in layer {
            if let Item::Node(node) = slots[slot].item {
                picture.boxes[node] = Placed {
                    x,
                    y: slots[slot].y,
                    width,
                    height: height(nodes, slots, hops, slot),
                };
            } else {
                let wire = (x..x + width).map(|column| (column, slots[slot].y, '─'));
                picture.wires.extend(wire);
            }
        }
        x += width;
        if let Some(next) = layers.get(depth + 1) {
            x += draw_gap(picture, links, slots, (layer, next), hops, (x, stretch));
        }
    }
    picture.width = x;
}

/// Draws the wires between two layers from column `x` on; returns how many columns they take.
fn draw_gap(
    picture: &mut Picture,
    links: &[Link],
    slots: &[Slot],
    (layer, next): (&[usize], &[usize]),
    hops: &[Hop],
    (x, stretch): (usize, usize),
) -> usize {
    // Where each wire of this gap ends.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    for &slot in next {
        let frame = usize::from(slots[slot].item != Item::Pass);
        let inputs = inputs(slots, hops, slot).into_iter().enumerate();
        ends.extend(inputs.map(|(row, hop)| (hop, slots[slot].y + frame + row)));
    }
    // A slot whose wires do not all run straight has a vertical run of its own; lower ones first, for they lead down.
    let mut bends: Vec<usize> = layer.to_vec();
    let row_of = |slot| output(slots, slot);
    bends.retain(|&slot| {
        ends.iter()
            .any(|&(hop, end)| hops[hop].from == slot && end != row_of(slot))
    });
    bends.sort_by_key(|&slot| std::cmp::Reverse(slots[slot].y));
    // A wire must turn away from its row before another one comes in on the same row.
    let comes_in = |slot: usize, row: usize| {
        ends.iter()
            .any(|&(hop, end)| hops[hop].from == slot && end == row)
    };
    for _ in 0..bends.len() {
        let wrong = (1..bends.len()).find_map(|late| {
            let row = row_of(bends[late]);
            (0..late)
                .find(|&early| comes_in(bends[early], row))
                .map(|early| (early, late))
        });
        let Some((early, late)) = wrong else {
            break;
        };
        bends[early..=late].rotate_right(1);
    }
    let is_last = |hop: usize| slots[hops[hop].to].item != Item::Pass;
    let labels = ends
        .iter()
        .filter(|(hop, _)| is_last(*hop))
        .map(|&(hop, _)| links[hops[hop].link].label);
    let label_room = labels.max().unwrap_or(0);
    // Wire, label between two blanks' worth of wire, arrow head.
    let width = 1 + bends.len() * LANE + label_room + STUB + 2 + stretch;

    let mut cells = vec![vec![Cell::default(); width]; picture.height];
    let mut run = |row: usize, columns: std::ops::Range<usize>, directions: u8, owner: usize| {
        for column in columns {
            let cell: &mut Cell = &mut cells[row][column];
            if cell.directions != 0 && cell.owner != owner {
                // Two wires cross: the one going down passes over.
                cell.directions = UP | DOWN;
            } else {
                cell.directions |= directions;
            }
            cell.owner = owner;
        }
    };
    // Across first, so that what goes down passes over it.
    for &(hop, end) in &ends {
        let from = hops[hop].from;
        let start = row_of(from);
        let lane = bends
            .iter()
            .position(|&slot| slot == from)
            .map(|lane| 1 + lane * LANE);
        match lane {
            None => run(end, 0..width, LEFT | RIGHT, from),
            Some(lane) => {
                run(start, 0..lane, LEFT | RIGHT, from);
                run(start, lane..lane + 1, LEFT, from);
                run(end, lane..lane + 1, RIGHT, from);
                run(end, lane + 1..width, LEFT | RIGHT, from);
            }
        }
    }
    for &(hop, end) in &ends {
        let from = hops[hop].from;
        let start = row_of(from);
        if let Some(lane) = bends
            .iter()
            .position(|&slot| slot == from)
            .map(|lane| 1 + lane * LANE)
        {
            let (top, bottom) = (start.min(end), start.max(end));
            for row in top..=bottom {
                let up = if row > top { UP } else { 0 };
                let down = if row < bottom { DOWN } else { 0 };
                run(row, lane..lane + 1, up | down, from);
            }
        }
    }
    for (row, cells) in cells.iter().enumerate() {
        let drawn = cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| cell.directions != 0);
        let drawn = drawn.map(|(column, cell)| (x + column, row, glyph(cell.directions)));
        picture.wires.extend(drawn);
    }
    for (hop, end) in ends {
        if is_last(hop) {
            let link = hops[hop].link;
            picture.wires.push((x + width - 1, end, '▶'));
            picture.labels[link] = (x + width - 2 - links[link].label, end);
        }
    }
    width
}

fn glyph(directions: u8) -> char {
    const SIDES: u8 = LEFT | RIGHT;
    match (directions & SIDES, directions & (UP | DOWN)) {
        (_, 0) => '─',
        (0, _) => '│',
        (LEFT, UP) => '┘',
        (LEFT, DOWN) => '┐',
        (LEFT, _) => '┤',
        (RIGHT, UP) => '└',
        (RIGHT, DOWN) => '┌',
        (RIGHT, _) => '├',
        (_, UP) => '┴',
        (_, DOWN) => '┬',
        _ => '┼',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws nodes named by their letters, and links labelled by their numbers.
    fn drawn(names: &str, links: &[(char, char)]) -> String {
        let at = |name| names.find(name).unwrap();
        let nodes = vec![Node { width: 1, rows: 1 }; names.len()];
        let links: Vec<Link> = links
            .iter()
            .map(|&(from, to)| Link {
                from: at(from),
                to: at(to),
                label: 1,
            })
            .collect();
        let picture = lay_out(&nodes, &links, Spacing::default()).unwrap();
        let mut grid = vec![vec![' '; picture.width]; picture.height];
        for (x, y, glyph) in picture.wires {
            grid[y][x] = glyph;
        }
        for (number, (x, y)) in picture.labels.into_iter().enumerate() {
            grid[y][x] = char::from_digit(number as u32 % 10, 10).unwrap();
        }
        for (placed, name) in picture.boxes.iter().zip(names.chars()) {
            for row in &mut grid[placed.y..placed.y + placed.height] {
                row[placed.x..placed.x + placed.width].fill('#');
            }
            grid[placed.y + 1][placed.x + 2] = name;
        }
        let rows: Vec<String> = grid
            .into_iter()
            .map(|row| row.into_iter().collect::<String>().trim_end().to_owned())
            .collect();
        rows.join("\n")
    }

    #[test]
    fn a_chain_is_a_line() {
        insta::assert_snapshot!(drawn("abc", &[('a', 'b'), ('b', 'c')]), @r"
        #####      #####      #####
        ##a##───0─▶##b##───1─▶##c##
        #####      #####      #####
        ");
    }

    #[test]
    fn wires_branch_join_and_pass_by() {
        let links = [
            ('a', 'b'),
            ('a', 'c'),
            ('b', 'd'),
            ('c', 'd'),
            ('a', 'd'),
            ('a', 'e'),
        ];
        insta::assert_snapshot!(drawn("abcde", &links), @r"
        #####        #####          #####
        ##a##─┬───0─▶##b##───────2─▶##d##
        ##### │      #####   ┌───3─▶#####
              │      ##### ┌─│───4─▶#####
              ├───1─▶##c##─│─┘      #####
              │      ##### │
              │      ##### │
              ├───5─▶##e## │
              │      ##### │
              └────────────┘
        ");
    }

    #[test]
    fn wires_that_cross_do_not_join() {
        let links = [('a', 'd'), ('b', 'c'), ('a', 'c'), ('b', 'd')];
        insta::assert_snapshot!(drawn("abcd", &links), @r"
        #####          #####
        ##a##───┬───2─▶##c##
        ##### ┌─│───1─▶#####
        ##### │ │      #####
        ##b##─┤ │      #####
        ##### │ └───0─▶##d##
              └─────3─▶#####
                       #####
        ");
    }

    #[test]
    fn a_cycle_has_no_layers() {
        let nodes = vec![Node { width: 1, rows: 1 }; 2];
        let link = |from, to| Link { from, to, label: 0 };
        assert!(lay_out(&nodes, &[link(0, 1), link(1, 0)], Spacing::default()).is_none());
        assert!(lay_out(&nodes, &[link(0, 0)], Spacing::default()).is_none());
        assert!(lay_out(&[], &[], Spacing::default()).is_some());
    }
}
