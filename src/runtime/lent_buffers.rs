//! Memory that the kernel reads and writes on its own.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// Memory lent to the kernel. It stays for ever when this is dropped, unless the kernel is known to have let go of it: a
/// leak is harmless, a write of the kernel into memory that belongs to something else by then is not.
pub(super) struct Lent<T> {
    memory: ManuallyDrop<T>,
    returned: bool,
}

impl<T> Lent<T> {
    /// The kernel may use `memory` from now on.
    pub(super) fn new(memory: T) -> Lent<T> {
        Lent { memory: ManuallyDrop::new(memory), returned: false }
    }

    /// The kernel has let go of it, and will not use it again.
    pub(super) fn take_back(&mut self) {
        self.returned = true;
    }
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.memory
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.memory
    }
}

impl<T> Drop for Lent<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        if self.returned {
            // SAFETY: this is the end of its only owner, so nobody looks at it again.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn memory_is_freed_only_once_the_kernel_has_let_go_of_it() {
        let memory = Rc::new(());
        let mut returned = Lent::new(Rc::clone(&memory));
        returned.take_back();
        drop(returned);
        assert_eq!(Rc::strong_count(&memory), 1);
        drop(Lent::new(Rc::clone(&memory)));
        assert_eq!(Rc::strong_count(&memory), 2, "the kernel may still use it");
    }
}
