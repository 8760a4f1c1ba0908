# Built from a context that `make image` stages in .cache/image: static binaries
# and licence texts, nothing else. Classic builder, no base image to pull.

# The base of your own node image: FROM it, and copy the node's binary to
# /usr/local/bin/wemixd.
FROM scratch AS wemixvisor
COPY licenses /licenses
COPY wemixvisor /usr/local/bin/wemixvisor
# A named volume takes its owner from here.
COPY --chown=65532:65532 data /data
COPY tmp /tmp
ENV PATH=/usr/local/bin HOME=/data DAEMON_HOME=/data
USER 65532:65532
WORKDIR /data
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["wemixvisor", "probe", "live"]
ENTRYPOINT ["wemixvisor"]
CMD ["run"]

FROM wemixvisor AS node
ARG GETH=geth
COPY ${GETH} /usr/local/bin/wemixd
EXPOSE 8545 8546 30303 30303/udp
