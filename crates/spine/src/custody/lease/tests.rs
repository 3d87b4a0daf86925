use super::*;

/// Says when it goes whether the lease was given back before.
struct Last<'a>(&'a Tenant, &'a mut Option<bool>);

impl Drop for Last<'_> {
    fn drop(&mut self) {
        *self.1 = Some(self.0.is_over());
    }
}

#[test]
fn a_lease_is_given_back_after_the_last_of_its_life() {
    let (lease, tenant) = Lease::new();
    let mut given_back_before = None;
    let leased = Leased { life: Last(&tenant, &mut given_back_before), lease };
    assert!(!tenant.is_over(), "it is had");
    // As where a life is refused that was about to begin.
    drop(leased);
    assert_eq!(given_back_before, Some(false));
    assert!(tenant.is_over());
}
