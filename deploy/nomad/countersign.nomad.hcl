job "app" {
  type = "service"

  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "10s"
    auto_revert      = true
  }

  group "app" {
    count = 2

    # All tasks share one network namespace, and only they can reach its 127.0.0.1.
    network {
      mode = "bridge"

      port "admin" {
        to = 4101
      }
    }

    service {
      name     = "countersign-admin"
      provider = "nomad"
      port     = "admin"
      tags     = ["prometheus"]

      check {
        name     = "live"
        type     = "http"
        path     = "/livez"
        interval = "10s"
        timeout  = "2s"
      }
    }

    # Starts before the app, and stops after it.
    task "countersign" {
      driver = "docker"
      user   = "65532:65532"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image           = "registry.example.com/countersign:0.1.0"
        ports           = ["admin"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      # Nomad acts as an OpenID provider that IAM trusts: see README.md.
      identity {
        name = "aws"
        aud  = ["sts.amazonaws.com"]
        file = true
        ttl  = "1h"
      }

      env {
        COUNTERSIGN_ROUTE__GRAPHQL__TARGET = "https://ID.appsync-api.eu-central-1.amazonaws.com/graphql"
        # Probes and Prometheus connect to the node's address.
        COUNTERSIGN_GUARD__ALLOW_HOSTS     = "${NOMAD_IP_admin}"
        COUNTERSIGN_ADMIN                  = "0.0.0.0:4101"
        COUNTERSIGN_LOG__FORMAT            = "json"
        AWS_ROLE_ARN                       = "arn:aws:iam::111122223333:role/countersign"
        AWS_WEB_IDENTITY_TOKEN_FILE        = "${NOMAD_SECRETS_DIR}/nomad_aws.jwt"
        AWS_REGION                         = "eu-central-1"
      }

      resources {
        cpu        = 100
        memory     = 64
        memory_max = 128
      }

      # Longer than drain.timeout; the client's max_kill_timeout must allow it.
      kill_timeout = "30s"
    }

    # Delays the app until countersign has been ready once.
    task "countersign-started" {
      driver = "docker"
      user   = "65532:65532"

      lifecycle {
        hook    = "prestart"
        sidecar = false
      }

      config {
        image           = "registry.example.com/countersign:0.1.0"
        args            = ["wait", "--for", "started", "--timeout", "2m"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }

    task "app" {
      driver = "docker"
      user   = "65532:65532"

      config {
        image           = "registry.example.com/app:1"
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      env {
        GRAPHQL_URL = "http://127.0.0.1:4100/graphql"
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
