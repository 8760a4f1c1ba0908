# Five targets. wemixvisor: the base of your own node image; copy the node to
# /usr/local/bin/wemixd. node: base and a geth. signer: the base with a geth that
# still seals, and a network of three such signers (e2e/network). upgrades: the base
# with several nodes, for the tests; failpoint: that one with a wemixvisor that the
# tests can end at a moment of their choice.
#
# make image builds them all. It stages what they hold below .cache/image first:
# nothing is pulled or compiled in here, so the classic builder will do.

FROM scratch AS wemixvisor
# Licences, etc/passwd, and /tmp with its sticky bit.
COPY .cache/image/root/ /
# Owned by the user we run as: a fresh named volume takes its owner from here.
# Not declared a VOLUME: data in one that nobody named is soon lost.
COPY --chown=65532:65532 .cache/image/empty/ /data/
COPY .cache/image/wemixvisor /usr/local/bin/
ENV PATH=/usr/local/bin HOME=/data DAEMON_HOME=/data
# Numbers, so that Kubernetes can tell it is not root (runAsNonRoot).
USER 65532:65532
WORKDIR /data
EXPOSE 9090
ENTRYPOINT ["wemixvisor"]
CMD ["run"]
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["wemixvisor", "probe", "live"]
LABEL org.opencontainers.image.title="wemixvisor" \
      org.opencontainers.image.description="The init and supervisor for blockchain nodes in containers" \
      org.opencontainers.image.source="https://github.com/wemix/wemixvisor" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-3.0-only"

FROM wemixvisor AS node
COPY .cache/image/geth /usr/local/bin/wemixd
EXPOSE 8545 8546 30303 30303/udp
LABEL org.opencontainers.image.title="wemixvisor with geth" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-3.0-only AND GPL-3.0-only"

FROM wemixvisor AS upgrades
COPY .cache/image/opt/ /opt/
EXPOSE 8545
LABEL org.opencontainers.image.title="wemixvisor with nodes to upgrade between" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-3.0-only AND GPL-3.0-only"

FROM upgrades AS failpoint
COPY .cache/image/failpoint/wemixvisor /usr/local/bin/

FROM wemixvisor AS signer
COPY .cache/image/geth-clique /usr/local/bin/wemixd
COPY .cache/image/network/ /network/
# The first blocks: a fresh volume starts out with them, and nothing has to run
# before the node.
COPY --chown=65532:65532 .cache/image/genesis/ /data/data/
EXPOSE 8545 8546 30303
LABEL org.opencontainers.image.title="wemixvisor with a signer of a throw-away network" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-3.0-only AND GPL-3.0-only"
