terraform {
  required_version = ">= 1.6"
}

# A placeholder for real infrastructure: it keeps its input in the state, and a new input is a change.
resource "terraform_data" "greeting" {
  input = {
    text     = "${var.greeting} from ${var.env}"
    version  = var.release["version"]
    replicas = var.replicas
  }
}
