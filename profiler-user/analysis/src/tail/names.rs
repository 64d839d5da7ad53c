//! Numbers for components, which are compared and added up for each event.
//!
//! In: components as events name them. Out: a number for each, and its id. Must not know: what they did.

use std::rc::Rc;

use courtside_core::model::resolve::ComponentName;
use foldhash::HashMap;

/// A component's number.
pub(super) type Who = u32;

/// The events do not tell.
pub(super) const UNKNOWN: Who = 0;
/// Nobody: the CPU was idle.
pub(super) const IDLE: Who = 1;
/// A timer or a device.
pub(super) const INTERRUPT: Who = 2;
/// More than are kept one by one.
pub(super) const OTHERS: Who = 3;

/// Components that get a number, at most: a host hardly has more.
const MOST: usize = 1 << 16;

/// Who is who.
#[derive(Debug)]
pub(super) struct Names {
    ids: Vec<String>,
    numbers: HashMap<String, Who>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            ids: ["unknown", "idle", "interrupt", "others"]
                .map(str::to_owned)
                .to_vec(),
            numbers: HashMap::default(),
        }
    }
}

impl Names {
    /// A component's number.
    pub(super) fn of(&mut self, component: Option<&Rc<ComponentName>>) -> Who {
        component.map_or(UNKNOWN, |component| self.named(&component.id))
    }

    /// The number of the component with this id.
    pub(super) fn named(&mut self, id: &str) -> Who {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        if self.ids.len() >= MOST {
            return OTHERS;
        }
        let number = Who::try_from(self.ids.len()).unwrap_or(OTHERS);
        self.ids.push(id.to_owned());
        self.numbers.insert(id.to_owned(), number);
        number
    }

    /// Its id.
    pub(super) fn id(&self, who: Who) -> &str {
        let place = usize::try_from(who).ok();
        let id = place.and_then(|place| self.ids.get(place));
        id.map_or("unknown", String::as_str)
    }
}
