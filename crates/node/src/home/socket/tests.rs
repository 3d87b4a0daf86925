use super::*;

#[test]
fn a_short_home_has_its_socket_inside() {
    assert_eq!(path_in(Path::new("/home/ann/.igor"), None), Path::new("/home/ann/.igor/node.sock"));
}

#[test]
fn a_long_home_has_its_socket_in_a_private_directory_of_its_own() {
    let long = PathBuf::from(format!("/{}", "deep/".repeat(40)));
    let other = PathBuf::from(format!("/{}x", "deep/".repeat(40)));
    let run = Path::new("/run/user/7");
    let socket = path_in(&long, Some(run));
    assert!(socket.starts_with(run) && socket.ends_with(SOCKET_FILE), "{}", socket.display());
    assert_ne!(socket, path_in(&other, Some(run)), "two homes, two sockets");
    assert!(path_in(&long, None).starts_with("/tmp"));
    // A runtime directory that is itself too long does not help.
    assert!(path_in(&long, Some(&long)).starts_with("/tmp"));
}

#[test]
fn the_limit_is_that_of_a_socket_address() {
    for length in 90..=120 {
        let home = PathBuf::from(format!("/{}", "h".repeat(length - 1)));
        assert!(path_in(&home, None).as_os_str().len() <= SOCKET_PATH_BYTES_MAX, "home of {length} bytes");
    }
}
