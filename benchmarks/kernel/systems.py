"""The six systems of the proposal, each as Debian packages and the work it does while memory is measured."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SYSTEMS", "System"]


@dataclass(frozen=True)
class System:
    """A system: its packages, its wheels in two versions (if it is not Debian's), what runs in a chroot of it.

    The last package is the one whose version is shown.
    ``start`` starts the service and returns when it answers; ``work`` is the load. Both are for ``sh``, in a
    chroot whose file system is writable, with ``$PORT`` to listen on (each image has its own).
    """

    packages: tuple[str, ...]
    start: str
    work: str
    wheels: tuple[str, str] | None = None


SYSTEMS: dict[str, System] = {
    "redis": System(
        ("redis-server",),
        "redis-server --port $PORT --save '' --daemonize yes >/dev/null"
        " && until redis-cli -p $PORT ping; do sleep 0.2; done",
        "redis-benchmark -p $PORT -n 2000 -q",
    ),
    "postgres": System(
        ("postgresql", "postgresql-15"),
        "mkdir -p /run/postgresql && chown postgres: /run/postgresql;"
        " pg_conftool 15 main set port $PORT; pg_conftool 15 main set ssl off; pg_ctlcluster 15 main start",
        'su postgres -c "pgbench -p $PORT -i -s 1 -q postgres && pgbench -p $PORT -c 2 -t 100 postgres"',
    ),
    "tensorflow": System(
        ("python3", "python3-distutils"),
        ":",
        "python3 -c 'import tensorflow as tf;"
        " print(tf.function(lambda x: tf.linalg.matmul(x, x))(tf.random.normal((200, 200))).shape)'",
        wheels=("tensorflow==2.12.0", "tensorflow==2.12.1"),
    ),
    "mysql": System(
        ("mariadb-server",),
        # A new database, as containers make at their first start: the packaged one would be copied to memory.
        "rm -rf /var/lib/mysql; mkdir -p /var/lib/mysql /run/mysqld; chown mysql: /var/lib/mysql /run/mysqld;"
        " mariadb-install-db --user=mysql --skip-test-db --force >/dev/null &&"
        " mariadbd --user=mysql --port=$PORT >/dev/null 2>&1 &"
        " until mariadb-admin --silent ping; do sleep 0.5; done",
        "mariadb-slap --auto-generate-sql --concurrency=2 --number-of-queries=200",
    ),
    "nginx": System(
        ("apache2-utils", "nginx"),
        'sed -i "s/80 default_server/$PORT default_server/" /etc/nginx/sites-enabled/default; nginx',
        "ab -q -n 1000 -c 4 http://127.0.0.1:$PORT/",
    ),
    "tomcat": System(
        ("tomcat10",),
        'sed -i "s/port=\\"8080\\"/port=\\"$PORT\\"/; s/port=\\"8005\\"/port=\\"-1\\"/" /etc/tomcat10/server.xml;'
        " export CATALINA_HOME=/usr/share/tomcat10 CATALINA_BASE=/var/lib/tomcat10 CATALINA_TMPDIR=/tmp"
        " JAVA_HOME=$(dirname $(dirname $(readlink -f $(command -v java))));"
        " /usr/share/tomcat10/bin/catalina.sh start",
        # It listens before it is up, and answers when it is.
        "until (exec 3<>/dev/tcp/127.0.0.1/$PORT && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && read -ru3) 2>/dev/null;"
        " do sleep 1; done",
    ),
}
